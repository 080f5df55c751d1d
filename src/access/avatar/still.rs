//! Encodes a still picture anew: upright, small, and with nothing of its file left but colours.

use std::io::Cursor;

use fast_image_resize::Resizer;
use image::codecs::gif::GifEncoder;
use image::codecs::jpeg::{JpegDecoder, JpegEncoder};
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::codecs::webp::WebPEncoder;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder as _, ImageFormat, ImageReader};

use super::{AvatarError, ImageType, Unread, limits};

/// Greatest width and height that are tried, until the file is small enough.
const SIDES: [u32; 4] = [512, 384, 256, 128];

/// Greatest length of what is kept.
const MAX_KEPT_BYTES: usize = 512 * 1024;

const JPEG_QUALITY: u8 = 85;

/// From 1 (best colours) to 30 (fastest).
const GIF_SPEED: i32 = 10;

/// Decodes a picture and encodes it anew.
pub(super) fn renew(
    bytes: &[u8],
    kind: ImageType,
    orientation: Orientation,
) -> Result<Vec<u8>, AvatarError> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format(kind));
    reader.limits(limits());
    let image = reader.decode()?;

    for side in SIDES {
        let mut small = shrink(&image, side)?;
        small.apply_orientation(orientation);
        let bytes = encode(&small, kind)?;
        if bytes.len() <= MAX_KEPT_BYTES {
            return Ok(bytes);
        }
    }
    Err(AvatarError::TooLarge)
}

fn format(kind: ImageType) -> ImageFormat {
    match kind {
        ImageType::Png => ImageFormat::Png,
        ImageType::Jpeg => ImageFormat::Jpeg,
        ImageType::WebP => ImageFormat::WebP,
        ImageType::Gif => ImageFormat::Gif,
    }
}

/// Fits a picture into a square, with eight bits for each colour. It is never made larger.
fn shrink(image: &DynamicImage, side: u32) -> Result<DynamicImage, AvatarError> {
    let (width, height) = (image.width(), image.height());
    let longest = width.max(height);
    let small = if longest <= side {
        image.clone()
    } else {
        let scaled = |length: u32| ((length * side + longest / 2) / longest).max(1);
        let mut small = DynamicImage::new(scaled(width), scaled(height), image.color());
        if Resizer::new().resize(image, &mut small, None).is_err() {
            return Err(AvatarError::Damaged);
        }
        small
    };
    Ok(if small.color().has_alpha() {
        small.into_rgba8().into()
    } else {
        small.into_rgb8().into()
    })
}

fn encode(image: &DynamicImage, kind: ImageType) -> Result<Vec<u8>, AvatarError> {
    let mut bytes = Vec::new();
    match kind {
        ImageType::Png => image.write_with_encoder(PngEncoder::new_with_quality(
            &mut bytes,
            CompressionType::Default,
            FilterType::Adaptive,
        )),
        ImageType::Jpeg => {
            image.write_with_encoder(JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY))
        }
        ImageType::WebP => image.write_with_encoder(WebPEncoder::new_lossless(&mut bytes)),
        ImageType::Gif => opaque_or_not(image)
            .write_with_encoder(GifEncoder::new_with_speed(&mut bytes, GIF_SPEED)),
    }?;
    Ok(bytes)
}

/// Decides each pixel's transparency. A GIF knows only two kinds, and its encoder would make
/// everything opaque that shrinking left a little of.
fn opaque_or_not(image: &DynamicImage) -> DynamicImage {
    let mut image = image.to_rgba8();
    for pixel in image.pixels_mut() {
        let [red, green, blue, alpha] = pixel.0;
        pixel.0 = if alpha < 128 {
            [0; 4]
        } else {
            [red, green, blue, 255]
        };
    }
    image.into()
}

/// Finds how a PNG is to be turned, in the chunk that may stand anywhere (PNG 3rd edition §11.3.3.2).
pub(super) fn png_orientation(bytes: &[u8]) -> Orientation {
    find_png_exif(bytes)
        .ok()
        .and_then(Orientation::from_exif_chunk)
        .unwrap_or(Orientation::NoTransforms)
}

fn find_png_exif(bytes: &[u8]) -> Result<&[u8], AvatarError> {
    let mut unread = Unread(bytes);
    unread.take(8)?;
    loop {
        let length = u32::from_be_bytes(unread.array()?);
        let id: [u8; 4] = unread.array()?;
        let data = unread.take(length.try_into().or(Err(AvatarError::Damaged))?)?;
        if &id == b"eXIf" {
            return Ok(data);
        }
        unread.take(4)?; // The checksum.
    }
}

/// Finds how a JPEG is to be turned. The decoder fills the rest of a torn file with grey, so here
/// is where one is refused.
pub(super) fn jpeg_orientation(bytes: &[u8]) -> Result<Orientation, AvatarError> {
    if !is_whole_jpeg(bytes)? {
        return Err(AvatarError::Damaged);
    }
    Ok(JpegDecoder::new(Cursor::new(bytes))?.orientation()?)
}

/// Walks the segments to the first scan and tells whether an end follows: within a scan, 0xff is
/// never followed by that marker (ITU-T T.81, B.1.1.5).
fn is_whole_jpeg(bytes: &[u8]) -> Result<bool, AvatarError> {
    const FILL: u8 = 0xff;
    const START_OF_SCAN: u8 = 0xda;
    const END: [u8; 2] = [0xff, 0xd9];

    let mut unread = Unread(bytes);
    unread.take(2)?;
    loop {
        if unread.byte()? != 0xff {
            return Err(AvatarError::Damaged);
        }
        let mut marker = unread.byte()?;
        while marker == FILL {
            marker = unread.byte()?;
        }
        if marker == START_OF_SCAN {
            return Ok(unread.0.windows(2).any(|pair| pair == END));
        }
        let length = u16::from_be_bytes(unread.array()?);
        unread.take(length.saturating_sub(2).into())?;
    }
}

#[cfg(test)]
mod tests {
    use image::{ImageBuffer, Luma, Rgb, Rgba, RgbaImage};

    use super::super::samples::{self, Turn};
    use super::super::{Avatar, MAX_BYTES};
    use super::*;

    const ALL: [ImageType; 4] = [
        ImageType::Png,
        ImageType::Jpeg,
        ImageType::WebP,
        ImageType::Gif,
    ];

    fn upload(bytes: &[u8]) -> Result<Vec<u8>, AvatarError> {
        let kind = ImageType::detect(bytes).unwrap();
        Avatar::from_upload(bytes, kind).map(|avatar| avatar.bytes().to_vec())
    }

    /// A picture that no encoder makes small.
    fn noise(width: u32, height: u32) -> RgbaImage {
        let mut state = 1_u32;
        RgbaImage::from_fn(width, height, |_, _| {
            Rgba([(); 4].map(|()| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                state.to_be_bytes()[0]
            }))
        })
    }

    #[test]
    fn a_picture_is_turned_upright_and_its_position_forgotten() {
        for kind in [ImageType::Png, ImageType::Jpeg, ImageType::WebP] {
            for turn in (1..=8).map(Turn::new) {
                let bytes = samples::with_metadata(kind, turn);
                assert!(samples::holds_metadata(&bytes));

                let avatar = upload(&bytes).unwrap();

                let expected = if turn.exif >= 5 { (10, 20) } else { (20, 10) };
                assert_eq!(samples::size(&avatar), expected, "{kind} {turn:?}");
                assert_eq!(samples::corners(&avatar), turn.corners, "{kind} {turn:?}");
                assert!(!samples::holds_metadata(&avatar), "{kind} {turn:?}");
            }
        }
    }

    #[test]
    fn an_orientation_after_the_pixels_counts_as_well() {
        let png = samples::still(ImageType::Png);
        let png = samples::insert_png_chunk(&png, "eXIf", &samples::exif(6), "IEND");

        let avatar = upload(&png).unwrap();

        assert_eq!(samples::corners(&avatar), Turn::new(6).corners);
        assert!(!samples::holds_metadata(&avatar));
    }

    #[test]
    fn the_exif_of_a_webp_may_have_the_prefix_of_jpeg() {
        let avatar = upload(&samples::lossy_webp_with_alpha()).unwrap();

        assert_eq!(samples::size(&avatar), (12, 16));
        let image = image::load_from_memory(&avatar).unwrap().to_rgba8();
        // Red was on the left and is now at the top; opaque was at the top and is now right.
        let [red, _, blue, alpha] = image.get_pixel(10, 2).0;
        assert!(red > 200 && blue < 60 && alpha == 255);
        let [red, _, blue, alpha] = image.get_pixel(1, 13).0;
        assert!(red < 60 && blue > 200 && alpha == 64);
    }

    #[test]
    fn nonsense_in_place_of_an_orientation_turns_nothing() {
        for exif in [
            &b""[..],
            b"II*\0",
            b"MM\0*\0\0\0\x08\xff\xff",
            &[0xff; 40],
            &samples::exif(9),
        ] {
            let png = samples::still(ImageType::Png);
            let png = samples::insert_png_chunk(&png, "eXIf", exif, "IDAT");
            let avatar = upload(&png).unwrap();
            assert_eq!(samples::corners(&avatar), [0, 1, 2, 3]);
        }
    }

    #[test]
    fn a_large_picture_is_fitted_and_a_small_one_left() {
        for (size, expected) in [
            ((20, 10), (20, 10)),
            ((512, 512), (512, 512)),
            ((513, 10), (512, 10)),
            ((1024, 512), (512, 256)),
            ((300, 600), (256, 512)),
            ((2000, 1), (512, 1)),
            ((1, 1), (1, 1)),
        ] {
            for kind in ALL {
                let (width, height) = size;
                let picture = samples::picture(width, height);
                let avatar = upload(&samples::encode(picture, kind)).unwrap();
                assert_eq!(samples::size(&avatar), expected, "{kind} {size:?}");
                if width.min(height) > 4 {
                    assert_eq!(samples::corners(&avatar), [0, 1, 2, 3], "{kind} {size:?}");
                }
            }
        }
    }

    #[test]
    fn a_picture_that_stays_large_is_made_smaller_still() {
        for kind in [ImageType::Png, ImageType::WebP] {
            let bytes = samples::encode(noise(600, 500), kind);
            assert!(bytes.len() > MAX_KEPT_BYTES && bytes.len() < MAX_BYTES);

            let avatar = upload(&bytes).unwrap();

            assert!(avatar.len() <= MAX_KEPT_BYTES, "{kind}");
            assert_eq!(samples::size(&avatar), (384, 320), "{kind}");
        }
    }

    #[test]
    fn all_kinds_of_pixels_are_understood() {
        let mut sixteen: ImageBuffer<Rgb<u16>, Vec<u16>> = ImageBuffer::new(600, 4);
        sixteen
            .pixels_mut()
            .for_each(|pixel| pixel.0 = [65_535, 32_768, 0]);
        let gray: ImageBuffer<Luma<u8>, Vec<u8>> = ImageBuffer::from_pixel(9, 4, Luma([77]));
        let one_bit = one_bit_png();

        for (bytes, expected) in [
            (
                samples::encode(DynamicImage::from(sixteen), ImageType::Png),
                [255, 128, 0],
            ),
            (
                samples::encode(DynamicImage::from(gray), ImageType::Png),
                [77, 77, 77],
            ),
            (one_bit, [255, 255, 255]),
        ] {
            let avatar = upload(&bytes).unwrap();
            let image = image::load_from_memory(&avatar).unwrap().to_rgb8();
            assert_eq!(image.get_pixel(0, 0).0, expected);
        }
    }

    /// Eight white pixels.
    fn one_bit_png() -> Vec<u8> {
        let header = [0, 0, 0, 8, 0, 0, 0, 1, 1, 0, 0, 0, 0];
        // zlib: one stored block of a filter byte and one byte of pixels.
        let data = [0x78, 0x01, 1, 2, 0, 0xfd, 0xff, 0, 0xff, 1, 1, 1, 0];
        let checksum = [0x01, 0x01, 0x01, 0x00];
        let data = [&data[..9], &checksum_of(&[0, 0xff])].concat();
        assert_eq!(checksum.len(), 4);
        [
            b"\x89PNG\r\n\x1a\n".to_vec(),
            samples::png_chunk("IHDR", &header),
            samples::png_chunk("IDAT", &data),
            samples::png_chunk("IEND", &[]),
        ]
        .concat()
    }

    /// Adler-32 (RFC 1950 §8.2).
    fn checksum_of(bytes: &[u8]) -> [u8; 4] {
        let (one, two) = bytes.iter().fold((1_u32, 0_u32), |(one, two), byte| {
            let one = (one + u32::from(*byte)) % 65_521;
            (one, (two + one) % 65_521)
        });
        (two << 16 | one).to_be_bytes()
    }

    #[test]
    fn transparency_survives() {
        let mut picture = samples::picture(20, 10);
        picture.put_pixel(0, 0, Rgba([0, 0, 0, 0]));

        for kind in [ImageType::Png, ImageType::WebP, ImageType::Gif] {
            let avatar = upload(&samples::encode(picture.clone(), kind)).unwrap();
            let image = image::load_from_memory(&avatar).unwrap().to_rgba8();
            assert_eq!(image.get_pixel(0, 0).0[3], 0, "{kind}");
            assert_eq!(image.get_pixel(1, 1).0[3], 255, "{kind}");
        }
    }

    #[test]
    fn a_gif_is_transparent_where_most_of_the_picture_was() {
        let mut image = RgbaImage::from_pixel(2, 1, Rgba([9, 8, 7, 128]));
        image.put_pixel(1, 0, Rgba([9, 8, 7, 127]));

        let decided = opaque_or_not(&image.into()).to_rgba8();

        assert_eq!(decided.get_pixel(0, 0).0, [9, 8, 7, 255]);
        assert_eq!(decided.get_pixel(1, 0).0, [0, 0, 0, 0]);
    }

    #[test]
    fn an_animated_png_becomes_its_first_frame() {
        let first = samples::still(ImageType::Png);
        let second = samples::encode(RgbaImage::new(20, 10), ImageType::Png);
        let control = |number: u8| {
            let mut data = vec![0, 0, 0, number, 0, 0, 0, 20, 0, 0, 0, 10];
            data.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 10, 0, 0]);
            data
        };
        let frame = [&[0, 0, 0, 2], samples::png_data(&second, "IDAT").as_slice()].concat();
        let png = samples::insert_png_chunk(&first, "acTL", &[0, 0, 0, 2, 0, 0, 0, 0], "IDAT");
        let png = samples::insert_png_chunk(&png, "fcTL", &control(0), "IDAT");
        let png = samples::insert_png_chunk(&png, "fcTL", &control(1), "IEND");
        let png = samples::insert_png_chunk(&png, "fdAT", &frame, "IEND");

        let avatar = upload(&png).unwrap();

        assert_eq!(samples::corners(&avatar), [0, 1, 2, 3]);
        for id in [b"acTL", b"fcTL", b"fdAT"] {
            assert!(!avatar.windows(4).any(|window| window == id));
        }
    }

    #[test]
    fn a_torn_picture_is_refused() {
        for kind in ALL {
            let bytes = samples::still(kind);
            for length in 13..bytes.len() - 1 {
                let torn = &bytes[..length];
                let result = Avatar::from_upload(torn, kind);
                // A PNG and a WebP are whole a few bytes before their end.
                let is_end = kind == ImageType::Png && length >= bytes.len() - 16;
                assert!(
                    is_end || result.is_err(),
                    "{kind} {length} of {}",
                    bytes.len()
                );
            }
        }
    }

    #[test]
    fn the_end_of_a_thumbnail_is_not_the_end_of_a_jpeg() {
        let jpeg = samples::still(ImageType::Jpeg);
        let thumbnail = [b"Exif\0\0", samples::exif(1).as_slice(), &[0xff, 0xd9]].concat();
        let length = u8::try_from(thumbnail.len() + 2).unwrap();
        let segment = [&[0xff, 0xff, 0xe1, 0, length], thumbnail.as_slice()].concat();
        let (start, rest) = jpeg.split_at(2);
        let torn = &rest[..rest.len() - 2];

        assert!(is_whole_jpeg(&[start, &segment, rest].concat()).unwrap());
        assert!(!is_whole_jpeg(&[start, &segment, torn].concat()).unwrap());
        assert!(is_whole_jpeg(&[start, &[0, 0xe1, 0, 2], rest].concat()).is_err());
    }
}
