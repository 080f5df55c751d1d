//! Pictures for the tests of this room, with everything in them that has to go.

use std::io::Cursor;

use image::codecs::gif::{GifEncoder, Repeat};
use image::{DynamicImage, Frame, ImageFormat, Rgba, RgbaImage};

use super::{ImageType, MAX_BYTES};

/// Stands for the position in every piece of metadata.
const POSITION: &[u8] = b"51.9244,4.4777";

/// Four colours that survive JPEG: top left, top right, bottom left, bottom right.
pub(super) const CORNERS: [[u8; 3]; 4] =
    [[240, 20, 20], [20, 220, 20], [20, 20, 240], [230, 230, 230]];

/// An orientation as EXIF numbers it, and where the four corners are once it is applied.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn {
    pub(super) exif: u8,
    pub(super) corners: [usize; 4],
}

impl Turn {
    /// Looks up one of the eight (EXIF 2.3 §4.6.4, tag 0x0112).
    pub(super) fn new(exif: u8) -> Self {
        let corners = match exif {
            1 => [0, 1, 2, 3],
            2 => [1, 0, 3, 2],
            3 => [3, 2, 1, 0],
            4 => [2, 3, 0, 1],
            5 => [0, 2, 1, 3],
            6 => [2, 0, 3, 1],
            7 => [3, 1, 2, 0],
            8 => [1, 3, 0, 2],
            _ => panic!("there are eight orientations"),
        };
        Self { exif, corners }
    }
}

/// A picture with one colour in each quarter.
pub(super) fn picture(width: u32, height: u32) -> RgbaImage {
    RgbaImage::from_fn(width, height, |x, y| {
        let corner = usize::from(x >= width / 2) + 2 * usize::from(y >= height / 2);
        let [red, green, blue] = CORNERS[corner];
        Rgba([red, green, blue, 255])
    })
}

/// Tells which of the four colours each corner of a picture has.
pub(super) fn corners(bytes: &[u8]) -> [usize; 4] {
    let image = image::load_from_memory(bytes).unwrap().to_rgb8();
    let (right, bottom) = (image.width() * 4 / 5, image.height() * 4 / 5);
    let (left, top) = (image.width() / 5, image.height() / 5);
    [(left, top), (right, top), (left, bottom), (right, bottom)].map(|(x, y)| {
        let pixel = image.get_pixel(x, y).0;
        let distance = |color: &[u8; 3]| -> u32 {
            color
                .iter()
                .zip(pixel)
                .map(|(one, two)| u32::from(one.abs_diff(two)))
                .sum()
        };
        (0..4)
            .min_by_key(|corner| distance(&CORNERS[*corner]))
            .unwrap()
    })
}

pub(super) fn size(bytes: &[u8]) -> (u32, u32) {
    let image = image::load_from_memory(bytes).unwrap();
    (image.width(), image.height())
}

pub(super) fn encode(image: impl Into<DynamicImage>, kind: ImageType) -> Vec<u8> {
    let image: DynamicImage = image.into();
    let mut bytes = Cursor::new(Vec::new());
    let written = match kind {
        ImageType::Png => image.write_to(&mut bytes, ImageFormat::Png),
        ImageType::Jpeg => image.to_rgb8().write_to(&mut bytes, ImageFormat::Jpeg),
        ImageType::WebP => image.write_to(&mut bytes, ImageFormat::WebP),
        ImageType::Gif => image.write_to(&mut bytes, ImageFormat::Gif),
    };
    written.unwrap();
    bytes.into_inner()
}

pub(super) fn still(kind: ImageType) -> Vec<u8> {
    encode(picture(20, 10), kind)
}

/// EXIF data with an orientation and a position.
pub(super) fn exif(orientation: u8) -> Vec<u8> {
    let mut tiff = b"II*\0\x08\0\0\0\x02\0".to_vec();
    // Orientation: one short.
    tiff.extend_from_slice(&[0x12, 0x01, 3, 0, 1, 0, 0, 0, orientation, 0, 0, 0]);
    // The directory of the position follows the first one.
    tiff.extend_from_slice(&[0x25, 0x88, 4, 0, 1, 0, 0, 0, 38, 0, 0, 0]);
    tiff.extend_from_slice(&[0; 4]);
    // The area in which it was taken: text, after this directory.
    let length = u8::try_from(POSITION.len()).unwrap();
    tiff.extend_from_slice(&[
        1, 0, 0x1c, 0, 7, 0, length, 0, 0, 0, 56, 0, 0, 0, 0, 0, 0, 0,
    ]);
    tiff.extend_from_slice(POSITION);
    tiff
}

pub(super) fn holds_metadata(bytes: &[u8]) -> bool {
    let words: [&[u8]; 9] = [
        POSITION, b"Exif", b"EXIF", b"eXIf", b"XMP", b"ICC", b"tEXt", b"II*\0", b"http",
    ];
    words
        .iter()
        .any(|word| bytes.windows(word.len()).any(|window| window == *word))
}

/// A still picture with EXIF and other metadata, where its type has places for them.
pub(super) fn with_metadata(kind: ImageType, turn: Turn) -> Vec<u8> {
    let bytes = still(kind);
    let exif = exif(turn.exif);
    match kind {
        ImageType::Png => {
            let bytes = insert_png_chunk(&bytes, "eXIf", &exif, "IDAT");
            let text = [b"Comment\0", POSITION].concat();
            let mut bytes = insert_png_chunk(&bytes, "tEXt", &text, "IDAT");
            bytes.extend_from_slice(POSITION);
            bytes
        }
        ImageType::Jpeg => {
            let app1 = [b"Exif\0\0", exif.as_slice()].concat();
            let xmp = [b"http://ns.adobe.com/xap/1.0/\0", POSITION].concat();
            let segments = [
                jpeg_segment(0xe1, &app1),
                jpeg_segment(0xe1, &xmp),
                jpeg_segment(0xfe, POSITION),
            ];
            let (start, rest) = bytes.split_at(2);
            [start, &segments.concat(), rest, POSITION].concat()
        }
        ImageType::WebP => extended_webp(&webp_chunks(&bytes), &exif),
        ImageType::Gif => {
            let (start, rest) = bytes.split_at(gif_head_length(&bytes));
            [start, &gif_comment(), rest, POSITION].concat()
        }
    }
}

fn jpeg_segment(marker: u8, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len() + 2).unwrap();
    [&[0xff, marker], length.to_be_bytes().as_slice(), data].concat()
}

/// Puts a chunk before the first one of another type.
pub(super) fn insert_png_chunk(png: &[u8], id: &str, data: &[u8], before: &str) -> Vec<u8> {
    let at = png
        .windows(4)
        .position(|window| window == before.as_bytes())
        .unwrap()
        - 4;
    let (start, rest) = png.split_at(at);
    [start, &png_chunk(id, data), rest].concat()
}

pub(super) fn png_chunk(id: &str, data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).unwrap();
    let body = [id.as_bytes(), data].concat();
    let checksum = crc32(&body);
    [
        &length.to_be_bytes(),
        body.as_slice(),
        &checksum.to_be_bytes(),
    ]
    .concat()
}

/// Returns the data of all chunks of a type.
pub(super) fn png_data(png: &[u8], id: &str) -> Vec<u8> {
    let mut rest = &png[8..];
    let mut found = Vec::new();
    while let Some((length, _)) = rest.split_first_chunk::<4>() {
        let end = 8 + usize::try_from(u32::from_be_bytes(*length)).unwrap();
        if &rest[4..8] == id.as_bytes() {
            found.extend_from_slice(&rest[8..end]);
        }
        rest = &rest[end + 4..];
    }
    found
}

/// The checksum of PNG (3rd edition, Annex D).
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            if sum & 1 == 1 {
                sum >> 1 ^ 0xedb8_8320
            } else {
                sum >> 1
            }
        })
    })
}

/// A PNG that says it has sixteen bits for each colour.
pub(super) fn deep_png(width: u32, height: u32) -> Vec<u8> {
    let png = still(ImageType::Png);
    let sides = [width.to_be_bytes(), height.to_be_bytes()].concat();
    let header = png_chunk("IHDR", &[sides.as_slice(), &[16, 6, 0, 0, 0]].concat());
    [&png[..8], &header, &png[33..]].concat()
}

/// A picture whose header lies about its dimensions.
pub(super) fn with_dimensions(kind: ImageType, width: u16, height: u16) -> Vec<u8> {
    let mut bytes = still(kind);
    match kind {
        ImageType::Png => {
            let sides = [
                u32::from(width).to_be_bytes(),
                u32::from(height).to_be_bytes(),
            ]
            .concat();
            let rest = &bytes[24..29];
            let header = png_chunk("IHDR", &[sides.as_slice(), rest].concat());
            bytes.splice(8..33, header).for_each(drop);
        }
        ImageType::Jpeg => {
            let frame = bytes
                .windows(2)
                .position(|pair| pair == [0xff, 0xc0])
                .unwrap();
            bytes[frame + 5..frame + 7].copy_from_slice(&height.to_be_bytes());
            bytes[frame + 7..frame + 9].copy_from_slice(&width.to_be_bytes());
            // A scan that small is filled up, so it is torn as well.
            bytes.truncate(bytes.len() - 2);
        }
        ImageType::WebP => {
            let sides =
                u32::from(width.saturating_sub(1)) | u32::from(height.saturating_sub(1)) << 14;
            bytes[21..25].copy_from_slice(&sides.to_le_bytes());
        }
        ImageType::Gif => {
            let sides = [width.to_le_bytes(), height.to_le_bytes()].concat();
            bytes[6..10].copy_from_slice(&sides);
            let frame = bytes.iter().rposition(|byte| *byte == 0x2c).unwrap();
            bytes[frame + 5..frame + 9].copy_from_slice(&sides);
        }
    }
    bytes
}

/// A GIF of frames that hold one pixel's data each.
pub(super) fn bare_gif(canvas: (u16, u16), frame: (u16, u16), count: usize) -> Vec<u8> {
    let sides = |(width, height): (u16, u16)| [width.to_le_bytes(), height.to_le_bytes()].concat();
    let screen = [b"GIF89a", sides(canvas).as_slice(), &[0x80, 0, 0], &[0; 6]].concat();
    let image = [
        &[0x2c, 0, 0, 0, 0],
        sides(frame).as_slice(),
        &[0, 2, 2, 0x44, 1, 0],
    ]
    .concat();
    [screen, image.repeat(count), vec![0x3b]].concat()
}

/// An animation of three frames, clean but for what the encoder writes.
pub(super) fn animated_gif() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = GifEncoder::new(&mut bytes);
    encoder.set_repeat(Repeat::Finite(7)).unwrap();
    for width in [20, 16, 12] {
        let mut canvas = RgbaImage::new(20, 10);
        image::imageops::overlay(&mut canvas, &picture(width, 8), 1, 1);
        encoder.encode_frame(Frame::new(canvas)).unwrap();
    }
    drop(encoder);
    bytes
}

pub(super) fn gif_head_length(gif: &[u8]) -> usize {
    let flags = gif[10];
    13 + if flags & 0x80 == 0 {
        0
    } else {
        3 << ((flags & 7) + 1)
    }
}

pub(super) fn gif_extension(label: u8, blocks: &[&[u8]]) -> Vec<u8> {
    let mut extension = vec![0x21, label];
    for block in blocks {
        extension.push(u8::try_from(block.len()).unwrap());
        extension.extend_from_slice(block);
    }
    extension.push(0);
    extension
}

fn gif_comment() -> Vec<u8> {
    gif_extension(0xfe, &[POSITION, b"a second block"])
}

/// An animation with everything in it that a GIF can hold.
pub(super) fn laden_gif() -> Vec<u8> {
    let gif = animated_gif();
    let text = [&[0; 12], POSITION].concat();
    let ballast = [
        gif_comment(),
        gif_extension(0xff, &[b"XMP DataXMP", b"<x:xmpmeta/>", POSITION]),
        gif_extension(0xff, &[b"ICCRGBG1012", POSITION]),
        gif_extension(0xf9, &[&[0, 1, 0, 0]]),
        gif_extension(0x01, &[&text]),
        gif_extension(0x99, &[POSITION]),
    ]
    .concat();
    let (start, rest) = gif.split_at(gif_head_length(&gif));
    let (rest, end) = rest.split_at(rest.len() - 1);
    [start, &ballast, rest, &ballast, end, POSITION].concat()
}

pub(super) fn webp_chunk(id: &str, data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).unwrap();
    let mut chunk = [id.as_bytes(), length.to_le_bytes().as_slice(), data].concat();
    chunk.resize(chunk.len().next_multiple_of(2), 0);
    chunk
}

pub(super) fn riff(chunks: &[u8]) -> Vec<u8> {
    let body = [b"WEBP", chunks].concat();
    webp_chunk("RIFF", &body)
}

/// Returns what follows the head of a WebP.
pub(super) fn webp_chunks(webp: &[u8]) -> Vec<u8> {
    webp[12..].to_vec()
}

pub(super) fn webp_header(flags: u8, width: u32, height: u32) -> Vec<u8> {
    let side = |side: u32| (side - 1).to_le_bytes()[..3].to_vec();
    webp_chunk(
        "VP8X",
        &[vec![flags, 0, 0, 0], side(width), side(height)].concat(),
    )
}

/// Puts a picture of 20 × 10 pixels among chunks that have to go.
fn extended_webp(picture: &[u8], exif: &[u8]) -> Vec<u8> {
    let chunks = [
        webp_header(0x3c, 20, 10),
        webp_chunk("ICCP", POSITION),
        webp_chunk("ABCD", POSITION),
        picture.to_vec(),
        webp_chunk("EXIF", exif),
        webp_chunk("XMP ", POSITION),
    ];
    [&riff(&chunks.concat()), POSITION].concat()
}

pub(super) fn webp_frame(x: u32, y: u32, width: u32, height: u32, chunks: &[u8]) -> Vec<u8> {
    let place = [x / 2, y / 2, width - 1, height - 1, 100].map(|n| n.to_le_bytes()[..3].to_vec());
    webp_chunk("ANMF", &[place.concat().as_slice(), &[0], chunks].concat())
}

/// An animation with everything in it that a WebP can hold, and how it looks without.
pub(super) fn laden_and_clean_webp() -> (Vec<u8>, Vec<u8>) {
    let lossless = webp_chunks(&encode(picture(16, 12), ImageType::WebP));
    let small = webp_chunks(&encode(picture(7, 5), ImageType::WebP));
    let lossy = [webp_chunk("ALPH", ALPHA), webp_chunk("VP8 ", LOSSY)].concat();
    let ballast = webp_chunk("ABCD", POSITION);
    let exif = webp_chunk("EXIF", &exif(6));

    let laden = [
        webp_header(0xff, 16, 12),
        webp_chunk("ICCP", POSITION),
        webp_chunk("ANIM", &[&[1, 2, 3, 4, 5, 0], POSITION].concat()),
        exif.clone(),
        webp_frame(0, 0, 16, 12, &[ballast.clone(), lossless.clone()].concat()),
        ballast.clone(),
        webp_frame(0, 0, 16, 12, &[lossy.clone(), exif].concat()),
        webp_frame(
            4,
            2,
            7,
            5,
            &[webp_chunk("ALPH", POSITION), small.clone()].concat(),
        ),
        webp_chunk("XMP ", POSITION),
    ];
    let clean = [
        webp_header(0x12, 16, 12),
        webp_chunk("ANIM", &[1, 2, 3, 4, 5, 0]),
        webp_frame(0, 0, 16, 12, &lossless),
        webp_frame(0, 0, 16, 12, &lossy),
        webp_frame(4, 2, 7, 5, &small),
    ];
    let laden = [riff(&laden.concat()), POSITION.to_vec()].concat();
    assert!(laden.len() < MAX_BYTES);
    (laden, riff(&clean.concat()))
}

pub(super) fn laden_webp() -> Vec<u8> {
    laden_and_clean_webp().0
}

/// A still picture of 16 × 12 pixels, red and blue, its lower half half transparent.
pub(super) fn lossy_webp_with_alpha() -> Vec<u8> {
    let chunks = [
        webp_header(0x18, 16, 12),
        webp_chunk("ALPH", ALPHA),
        webp_chunk("VP8 ", LOSSY),
        webp_chunk("EXIF", &[b"Exif\0\0".to_vec(), exif(6)].concat()),
    ];
    riff(&chunks.concat())
}

/// The transparency of [`LOSSY`].
pub(super) const ALPHA: &[u8] = &[1, 16, 8, 36, 106, 251, 75, 45, 16, 64, 68, 228, 124, 60];

/// A lossy bit stream of 16 × 12 pixels.
pub(super) const LOSSY: &[u8] = &[
    144, 1, 0, 157, 1, 42, 16, 0, 12, 0, 2, 128, 66, 37, 160, 2, 116, 186, 0, 3, 152, 0, 254, 242,
    127, 255, 250, 213, 127, 255, 133, 107, 254, 236, 23, 96, 127, 234, 179, 255, 189, 129, 33,
    255, 189, 128, 247, 0, 0, 0,
];
