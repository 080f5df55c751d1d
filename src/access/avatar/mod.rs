//! Avatars: pictures that strangers to the server may safely be shown.
//!
//! What is uploaded is checked (its type, its size, its dimensions, every pixel) and cleaned. A
//! still picture is decoded, turned upright, made small and encoded anew, so nothing of the
//! original file is left but its colours. A moving one is decoded to see that it can be, and kept
//! without all that is not picture: see `gif` and `webp`.
//!
//! **Invariant:** an [`Avatar`] from an upload holds no metadata. **Invariant:** no decoder sees a
//! picture before its dimensions are known to be small.

mod gif;
#[cfg(test)]
mod samples;
mod still;
mod webp;

use std::fmt::{self, Display, Formatter};
use std::io::Cursor;

use image::codecs::gif::GifDecoder;
use image::codecs::webp::WebPDecoder;
use image::error::LimitErrorKind;
use image::metadata::Orientation;
use image::{AnimationDecoder, ImageDecoder, ImageError, Limits};

/// The longest upload that is looked at.
pub const MAX_BYTES: usize = 2 * 1024 * 1024;

/// Greatest width and height of an upload.
const MAX_SIDE: u32 = 4096;

/// What one decoded picture may need.
const MAX_DECODED_BYTES: u64 = 64 * 1024 * 1024;

/// Greatest number of pixels in all frames of an animation, each frame counted as the greater of
/// itself and the canvas: about a second of decoding.
const MAX_ANIMATION_PIXELS: u64 = 50_000_000;

/// What a decoder of animations holds at once: the canvas, a frame, and the two put together.
const ANIMATION_BUFFERS: u64 = 3;

const BYTES_PER_PIXEL: u64 = 4;

/// A picture that is ready to be kept and served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Avatar {
    bytes: Vec<u8>,
    kind: ImageType,
}

/// The types of pictures that are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ImageType {
    /// Portable Network Graphics.
    Png,
    /// JPEG.
    Jpeg,
    /// WebP, lossy or lossless.
    WebP,
    /// Graphics Interchange Format.
    Gif,
}

/// Why a picture is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AvatarError {
    /// There are no bytes.
    #[error("the picture is empty")]
    Empty,
    /// There are more than [`MAX_BYTES`].
    #[error("the picture is larger than 2 MB")]
    TooLarge,
    /// It is declared as, or begins like, something else than the four types.
    #[error("the picture is neither PNG, JPEG, WebP nor GIF")]
    UnknownType,
    /// It is not what it was declared to be.
    #[error("the picture is {actual}, not {declared} as declared")]
    TypeMismatch {
        /// What the request said.
        declared: ImageType,
        /// What the bytes say.
        actual: ImageType,
    },
    /// A side is zero, or longer than allowed.
    #[error("the picture has {width} × {height} pixels; up to {MAX_SIDE} × {MAX_SIDE} are allowed")]
    Dimensions {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
    /// Decoding it would take too much memory, or too much time.
    #[error("the picture takes too much memory or time to decode")]
    Decoded,
    /// It cannot be decoded.
    #[error("the picture is damaged")]
    Damaged,
}

impl Avatar {
    /// Checks and cleans an upload.
    pub fn from_upload(bytes: &[u8], declared: ImageType) -> Result<Self, AvatarError> {
        let kind = check_file(bytes)?;
        if kind != declared {
            return Err(AvatarError::TypeMismatch {
                declared,
                actual: kind,
            });
        }
        check_dimensions(bytes)?;

        let bytes = match kind {
            ImageType::Png => still::renew(bytes, kind, still::png_orientation(bytes))?,
            ImageType::Jpeg => still::renew(bytes, kind, still::jpeg_orientation(bytes)?)?,
            ImageType::WebP => {
                let stripped = webp::strip(bytes)?;
                if stripped.frames.count == 1 {
                    still::renew(&stripped.bytes, kind, stripped.orientation)?
                } else {
                    let decoder = WebPDecoder::new(Cursor::new(&stripped.bytes))?;
                    check_frames(&stripped.frames, decoder)?;
                    stripped.bytes
                }
            }
            ImageType::Gif => {
                let stripped = gif::strip(bytes)?;
                if stripped.frames.count == 1 {
                    still::renew(&stripped.bytes, kind, stripped.orientation)?
                } else {
                    let decoder = GifDecoder::new(Cursor::new(&stripped.bytes))?;
                    check_frames(&stripped.frames, decoder)?;
                    stripped.bytes
                }
            }
        };
        Ok(Self { bytes, kind })
    }

    /// Returns the file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns its type.
    pub fn kind(&self) -> ImageType {
        self.kind
    }
}

impl ImageType {
    /// Reads a `Content-Type`, in any case and with any parameters.
    ///
    /// ```
    /// use proxmenux_monitor::access::avatar::ImageType;
    ///
    /// assert_eq!(ImageType::parse("image/PNG; q=1")?, ImageType::Png);
    ///
    /// assert!(ImageType::parse("image/svg+xml").is_err());
    /// # Ok::<(), proxmenux_monitor::access::avatar::AvatarError>(())
    /// ```
    pub fn parse(content_type: &str) -> Result<Self, AvatarError> {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        match essence.to_ascii_lowercase().as_str() {
            "image/png" => Ok(Self::Png),
            "image/jpeg" | "image/jpg" => Ok(Self::Jpeg),
            "image/webp" => Ok(Self::WebP),
            "image/gif" => Ok(Self::Gif),
            _ => Err(AvatarError::UnknownType),
        }
    }

    /// Recognises a file by its first bytes (MIME Sniffing §6.1).
    pub fn detect(bytes: &[u8]) -> Result<Self, AvatarError> {
        match bytes {
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Ok(Self::Png),
            [0xff, 0xd8, 0xff, ..] => Ok(Self::Jpeg),
            [
                b'R',
                b'I',
                b'F',
                b'F',
                _,
                _,
                _,
                _,
                b'W',
                b'E',
                b'B',
                b'P',
                ..,
            ] => Ok(Self::WebP),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Ok(Self::Gif),
            _ => Err(AvatarError::UnknownType),
        }
    }

    /// Returns the media type for a `Content-Type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::WebP => "image/webp",
            Self::Gif => "image/gif",
        }
    }
}

impl Display for ImageType {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<ImageError> for AvatarError {
    fn from(error: ImageError) -> Self {
        match error {
            ImageError::Limits(limit) if limit.kind() == LimitErrorKind::InsufficientMemory => {
                Self::Decoded
            }
            ImageError::Limits(_)
            | ImageError::Decoding(_)
            | ImageError::Encoding(_)
            | ImageError::Parameter(_)
            | ImageError::Unsupported(_)
            | ImageError::IoError(_) => Self::Damaged,
        }
    }
}

fn check_file(bytes: &[u8]) -> Result<ImageType, AvatarError> {
    if bytes.is_empty() {
        return Err(AvatarError::Empty);
    }
    if bytes.len() > MAX_BYTES {
        return Err(AvatarError::TooLarge);
    }
    ImageType::detect(bytes)
}

fn check_dimensions(bytes: &[u8]) -> Result<(), AvatarError> {
    let Ok(size) = imagesize::blob_size(bytes) else {
        return Err(AvatarError::Damaged);
    };
    let width = u32::try_from(size.width).unwrap_or(u32::MAX);
    let height = u32::try_from(size.height).unwrap_or(u32::MAX);
    let allowed = 1..=MAX_SIDE;
    if allowed.contains(&width) && allowed.contains(&height) {
        Ok(())
    } else {
        Err(AvatarError::Dimensions { width, height })
    }
}

/// What every decoder is told, should it see other dimensions than those that were checked.
fn limits() -> Limits {
    let mut limits = Limits::no_limits();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_DECODED_BYTES);
    limits
}

/// A file with nothing but the picture.
struct Stripped {
    bytes: Vec<u8>,
    frames: Frames,
    orientation: Orientation,
}

/// How many frames there are, and what it takes to decode them.
#[derive(Debug)]
struct Frames {
    canvas_pixels: u64,
    largest_pixels: u64,
    total_pixels: u64,
    count: u64,
}

impl Frames {
    /// Starts with no frame on a canvas.
    fn on_canvas(width: u32, height: u32) -> Self {
        let canvas_pixels = u64::from(width) * u64::from(height);
        Self {
            canvas_pixels,
            largest_pixels: canvas_pixels,
            total_pixels: 0,
            count: 0,
        }
    }

    /// Counts a frame: a small one costs as much as the canvas on which it is put.
    fn add(&mut self, width: u32, height: u32) {
        let pixels = u64::from(width) * u64::from(height);
        self.largest_pixels = self.largest_pixels.max(pixels);
        self.total_pixels += pixels.max(self.canvas_pixels);
        self.count += 1;
    }

    fn check_cost(&self) -> Result<(), AvatarError> {
        let memory = self.largest_pixels * BYTES_PER_PIXEL * ANIMATION_BUFFERS;
        if memory > MAX_DECODED_BYTES || self.total_pixels > MAX_ANIMATION_PIXELS {
            return Err(AvatarError::Decoded);
        }
        Ok(())
    }
}

/// Decodes every frame once, if that takes neither too much memory nor too much time.
fn check_frames<'a>(
    frames: &Frames,
    mut decoder: impl AnimationDecoder<'a> + ImageDecoder,
) -> Result<(), AvatarError> {
    frames.check_cost()?;
    decoder.set_limits(limits())?;
    for frame in decoder.into_frames() {
        frame?;
    }
    Ok(())
}

/// What is left of a file that is walked from its beginning to its end.
struct Unread<'a>(&'a [u8]);

impl<'a> Unread<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], AvatarError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(AvatarError::Damaged)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], AvatarError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(AvatarError::Damaged)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn byte(&mut self) -> Result<u8, AvatarError> {
        self.array().map(|[byte]| byte)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::samples::{self, Turn};
    use super::*;

    const ALL: [ImageType; 4] = [
        ImageType::Png,
        ImageType::Jpeg,
        ImageType::WebP,
        ImageType::Gif,
    ];

    #[test]
    fn content_types() {
        use ImageType::{Gif, Jpeg, Png, WebP};

        for (text, expected) in [
            ("image/png", Some(Png)),
            ("IMAGE/PNG", Some(Png)),
            (" image/jpeg ", Some(Jpeg)),
            ("image/jpg", Some(Jpeg)),
            ("image/webp;q=0.9", Some(WebP)),
            ("Image/Gif ; name=\"a;b\"", Some(Gif)),
            ("", None),
            ("image/", None),
            ("image/*", None),
            ("image/svg+xml", None),
            ("image/pngx", None),
            ("text/png", None),
            ("; image/png", None),
        ] {
            assert_eq!(ImageType::parse(text).ok(), expected, "{text:?}");
        }
        for kind in ALL {
            assert_eq!(ImageType::parse(kind.as_str()), Ok(kind));
        }
    }

    #[test]
    fn first_bytes() {
        use ImageType::{Gif, Jpeg, Png, WebP};

        let cases: [(&[u8], Option<ImageType>); 14] = [
            (b"\x89PNG\r\n\x1a\n", Some(Png)),
            (b"\x89PNG\r\n\x1a", None),
            (b"\x89PNG\n\n\x1a\n", None),
            (b"\xff\xd8\xff\xe0", Some(Jpeg)),
            (b"\xff\xd8\xff", Some(Jpeg)),
            (b"\xff\xd8", None),
            (b"GIF87a", Some(Gif)),
            (b"GIF89a;", Some(Gif)),
            (b"GIF88a", None),
            (b"GIF89", None),
            (b"RIFF\0\0\0\0WEBP", Some(WebP)),
            (b"RIFF\0\0\0\0WAVE", None),
            (b"<svg xmlns=", None),
            (b"", None),
        ];
        for (bytes, expected) in cases {
            assert_eq!(ImageType::detect(bytes).ok(), expected, "{bytes:?}");
        }
    }

    #[test]
    fn an_upload_has_to_be_what_it_is_declared_to_be() {
        for declared in ALL {
            for actual in ALL {
                let bytes = samples::still(actual);
                let expected = if declared == actual {
                    Ok(actual)
                } else {
                    Err(AvatarError::TypeMismatch { declared, actual })
                };
                let avatar = Avatar::from_upload(&bytes, declared);
                assert_eq!(avatar.map(|avatar| avatar.kind()), expected);
            }
        }
    }

    #[test]
    fn size_and_type_come_first() {
        let mut long = samples::still(ImageType::Png);
        long.resize(MAX_BYTES + 1, 0);
        let svg = b"<svg xmlns='http://www.w3.org/2000/svg'/>";

        for kind in ALL {
            assert_eq!(Avatar::from_upload(&[], kind), Err(AvatarError::Empty));
            assert_eq!(Avatar::from_upload(&long, kind), Err(AvatarError::TooLarge));
            assert_eq!(
                Avatar::from_upload(svg, kind),
                Err(AvatarError::UnknownType)
            );
        }
        long.truncate(MAX_BYTES);
        assert!(Avatar::from_upload(&long, ImageType::Png).is_ok());
    }

    #[test]
    fn dimensions_are_read_before_anything_is_decoded() {
        for (width, height) in [(4097, 1), (1, 4097), (16_000, 16_000), (0, 7), (7, 0)] {
            for kind in ALL {
                let bytes = samples::with_dimensions(kind, width, height);
                let expected = match (kind, width, height) {
                    // A lossless WebP cannot say zero.
                    (ImageType::WebP, 0, _) | (ImageType::WebP, _, 0) => continue,
                    _ => AvatarError::Dimensions {
                        width: width.into(),
                        height: height.into(),
                    },
                };
                assert_eq!(Avatar::from_upload(&bytes, kind), Err(expected), "{kind}");
            }
        }
    }

    #[test]
    fn the_header_alone_does_not_decide() {
        for kind in ALL {
            let bytes = samples::with_dimensions(kind, 4096, 4096);
            assert_eq!(
                Avatar::from_upload(&bytes, kind),
                Err(AvatarError::Damaged),
                "{kind}"
            );
        }
    }

    #[test]
    fn more_than_64_mib_decoded_is_too_much() {
        let deep = samples::deep_png(4096, 4096);

        assert_eq!(
            Avatar::from_upload(&deep, ImageType::Png),
            Err(AvatarError::Decoded)
        );
    }

    #[test]
    fn the_cost_of_an_animation_is_bounded() {
        // Canvas, frame, number of frames.
        let cases = [
            ((100, 100), (100, 100), 2, true),
            // Time: the sum of all frames, each at least as large as the canvas.
            ((1000, 1000), (1, 1), 50, true),
            ((1000, 1000), (1, 1), 51, false),
            ((1, 1), (1000, 1000), 50, true),
            ((1, 1), (1000, 1000), 51, false),
            // Memory: the largest of them, three times.
            ((2365, 2364), (1, 1), 2, true),
            ((2365, 2365), (1, 1), 2, false),
            ((1, 1), (2365, 2365), 2, false),
            ((65_535, 65_535), (65_535, 65_535), 2, false),
        ];

        for (canvas, frame, count, is_affordable) in cases {
            let mut frames = Frames::on_canvas(canvas.0, canvas.1);
            for _ in 0..count {
                frames.add(frame.0, frame.1);
            }
            let result = frames.check_cost();
            assert_eq!(result.is_ok(), is_affordable, "{frames:?}");
        }
    }

    #[test]
    fn an_animation_that_costs_too_much_is_not_decoded() {
        let gif = samples::bare_gif((1000, 1000), (1, 1), 51);
        let dot = samples::webp_chunks(&samples::encode(samples::picture(1, 1), ImageType::WebP));
        let frame = samples::webp_frame(0, 0, 1, 1, &dot);
        let head = samples::webp_header(0x02, 1000, 1000);
        let parameters = samples::webp_chunk("ANIM", &[0; 6]);
        let webp = samples::riff(&[head, parameters, frame.repeat(51)].concat());

        for (bytes, kind) in [(gif, ImageType::Gif), (webp, ImageType::WebP)] {
            assert_eq!(Avatar::from_upload(&bytes, kind), Err(AvatarError::Decoded));
        }
    }

    #[test]
    fn a_decoder_keeps_to_the_limits_whatever_it_was_told() {
        let check = |gif: Vec<u8>| {
            let decoder = GifDecoder::new(Cursor::new(gif)).unwrap();
            check_frames(&Frames::on_canvas(1, 1), decoder)
        };
        let gif = |width, height| samples::encode(samples::picture(width, height), ImageType::Gif);

        assert_eq!(check(gif(4096, 1)), Ok(()));
        assert_eq!(check(gif(4097, 1)), Err(AvatarError::Damaged));
        assert_eq!(check(gif(1, 4097)), Err(AvatarError::Damaged));
        let large = samples::bare_gif((2900, 2900), (2900, 2900), 2);
        assert_eq!(check(large), Err(AvatarError::Decoded));
    }

    #[test]
    fn what_was_kept_is_taken_back() {
        for kind in ALL {
            let avatar = Avatar::from_upload(&samples::still(kind), kind).unwrap();
            assert_eq!(ImageType::detect(avatar.bytes()), Ok(kind));
            // To clean it again changes nothing of what it is.
            let again = Avatar::from_upload(avatar.bytes(), kind).unwrap();
            assert_eq!(samples::size(again.bytes()), samples::size(avatar.bytes()));
        }
    }

    #[test]
    fn refusals_name_the_fact() {
        let mismatch = AvatarError::TypeMismatch {
            declared: ImageType::Png,
            actual: ImageType::Gif,
        };
        assert_eq!(
            mismatch.to_string(),
            "the picture is image/gif, not image/png as declared",
        );
        let dimensions = AvatarError::Dimensions {
            width: 5000,
            height: 1,
        };
        assert_eq!(
            dimensions.to_string(),
            "the picture has 5000 × 1 pixels; up to 4096 × 4096 are allowed",
        );
    }

    /// Every sample with everything in it that has to go.
    fn laden() -> Vec<Vec<u8>> {
        let mut laden: Vec<_> = ALL
            .into_iter()
            .map(|kind| samples::with_metadata(kind, Turn::new(6)))
            .collect();
        laden.push(samples::laden_gif());
        laden.push(samples::laden_webp());
        laden.push(samples::lossy_webp_with_alpha());
        laden
    }

    #[test]
    fn nothing_but_the_picture_is_kept() {
        for bytes in laden() {
            let kind = ImageType::detect(&bytes).unwrap();
            let avatar = Avatar::from_upload(&bytes, kind).unwrap();

            assert!(!samples::holds_metadata(avatar.bytes()), "{kind}");
            assert!(image::load_from_memory(avatar.bytes()).is_ok(), "{kind}");
        }
    }

    #[derive(Debug, Clone)]
    enum Edit {
        Set(u8),
        Flip(u8),
        Cut(usize),
        Insert(Vec<u8>),
        End,
    }

    fn edits() -> impl Strategy<Value = Vec<(prop::sample::Index, Edit)>> {
        let edit = prop_oneof![
            any::<u8>().prop_map(Edit::Set),
            (0_u8..8).prop_map(Edit::Flip),
            (1_usize..20).prop_map(Edit::Cut),
            proptest::collection::vec(any::<u8>(), 1..20).prop_map(Edit::Insert),
            Just(Edit::End),
        ];
        proptest::collection::vec((any::<prop::sample::Index>(), edit), 1..6)
    }

    fn apply(mut bytes: Vec<u8>, edits: &[(prop::sample::Index, Edit)]) -> Vec<u8> {
        for (place, edit) in edits {
            if bytes.is_empty() {
                break;
            }
            let place = place.index(bytes.len());
            match edit {
                Edit::Set(byte) => bytes[place] = *byte,
                Edit::Flip(bit) => bytes[place] ^= 1 << bit,
                Edit::Cut(count) => drop(bytes.drain(place..(place + count).min(bytes.len()))),
                Edit::Insert(new) => drop(bytes.splice(place..place, new.iter().copied())),
                Edit::End => bytes.truncate(place),
            }
        }
        bytes
    }

    fn survives(bytes: &[u8]) -> Result<(), TestCaseError> {
        for kind in ALL {
            let Ok(avatar) = Avatar::from_upload(bytes, kind) else {
                continue;
            };
            prop_assert_eq!(ImageType::detect(avatar.bytes()), Ok(kind));
            let (width, height) = samples::size(avatar.bytes());
            prop_assert!((1..=MAX_SIDE).contains(&width) && (1..=MAX_SIDE).contains(&height));
            prop_assert!(avatar.bytes().len() <= MAX_BYTES);
            prop_assert!(image::load_from_memory(avatar.bytes()).is_ok());
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn no_damage_breaks_anything(sample in any::<prop::sample::Index>(), edits in edits()) {
            let laden = laden();
            survives(&apply(laden[sample.index(laden.len())].clone(), &edits))?;
        }

        #[test]
        fn no_bytes_break_anything(
            kind in proptest::sample::select(ALL.to_vec()),
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let start: &[u8] = match kind {
                ImageType::Png => b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\x08\0\0\0\x08",
                ImageType::Jpeg => b"\xff\xd8\xff\xc0\0\x0b\x08\0\x08\0\x08",
                ImageType::WebP => b"RIFF\xff\0\0\0WEBPVP8X\x0a\0\0\0\x12\0\0\0\x07\0\0\x07\0\0",
                ImageType::Gif => b"GIF89a\x08\0\x08\0\0\0\0",
            };
            survives(&bytes)?;
            survives(&[start, bytes.as_slice()].concat())?;
        }
    }
}
