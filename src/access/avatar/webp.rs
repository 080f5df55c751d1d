//! Strips a WebP of all that is not picture (RFC 9649 §2).
//!
//! Kept are the bit streams, their transparency, and the frames of an animation with their timing.
//! EXIF, XMP, colour profiles, unknown chunks, and whatever follows the end are dropped.

use image::metadata::Orientation;

use super::{AvatarError, Frames, Stripped, Unread};

// Flags of the extended header (RFC 9649 §2.7.1). The others announce what is dropped.
const ANIMATION: u8 = 0x02;
const ALPHA: u8 = 0x10;

/// Returns the file with nothing but the picture.
pub(super) fn strip(bytes: &[u8]) -> Result<Stripped, AvatarError> {
    let mut unread = Unread(bytes);
    unread.take(b"RIFF".len())?;
    let length = length_from(unread.array()?)?;
    let mut unread = Unread(unread.take(length)?);
    unread.take(b"WEBP".len())?;

    if !unread.0.starts_with(b"VP8X") {
        return strip_still(unread, None);
    }
    let header = Header::read(Chunk::read(&mut unread)?.data)?;
    if header.flags & ANIMATION == 0 {
        strip_still(unread, Some(&header))
    } else {
        strip_animation(unread, &header)
    }
}

/// Writes the one picture anew, with an extended header only if its transparency needs one.
fn strip_still(unread: Unread<'_>, header: Option<&Header>) -> Result<Stripped, AvatarError> {
    let picture = Picture::read(unread)?;
    let (width, height) = picture.size;
    if header.is_some_and(|header| header.size != picture.size) {
        return Err(AvatarError::Damaged);
    }

    let mut file = Vec::new();
    if picture.alpha.is_some() {
        let header = Header {
            flags: ALPHA,
            size: picture.size,
        };
        header.write(&mut file);
    }
    picture.write(&mut file);
    let mut frames = Frames::on_canvas(width, height);
    frames.add(width, height);
    Ok(Stripped {
        bytes: riff(&file),
        frames,
        orientation: picture.orientation,
    })
}

/// Writes the header, the animation's parameters and its frames anew.
fn strip_animation(mut unread: Unread<'_>, header: &Header) -> Result<Stripped, AvatarError> {
    let mut file = Vec::new();
    let header = Header {
        flags: header.flags & (ANIMATION | ALPHA),
        size: header.size,
    };
    header.write(&mut file);

    let (width, height) = header.size;
    let mut frames = Frames::on_canvas(width, height);
    let mut has_parameters = false;
    while !unread.0.is_empty() {
        let chunk = Chunk::read(&mut unread)?;
        match &chunk.id {
            b"ANIM" if !has_parameters => {
                let parameters: [u8; 6] = Unread(chunk.data).array()?;
                write_chunk(&mut file, *b"ANIM", &parameters);
                has_parameters = true;
            }
            b"ANMF" if has_parameters => {
                let (width, height) = strip_frame(chunk.data, &header, &mut file)?;
                frames.add(width, height);
            }
            b"ANMF" => return Err(AvatarError::Damaged),
            _ => {}
        }
    }
    if frames.count == 0 {
        return Err(AvatarError::Damaged);
    }
    Ok(Stripped {
        bytes: riff(&file),
        frames,
        orientation: Orientation::NoTransforms,
    })
}

/// Writes one frame anew and returns its size, which the decoder takes on trust: it has to be
/// that of the bit stream, and to lie on the canvas.
fn strip_frame(
    data: &[u8],
    header: &Header,
    file: &mut Vec<u8>,
) -> Result<(u32, u32), AvatarError> {
    let mut unread = Unread(data);
    let place: [u8; 16] = unread.array()?;
    let picture = Picture::read(unread)?;

    let mut fields = Unread(&place);
    let (x, y) = (read_u24(&mut fields)? * 2, read_u24(&mut fields)? * 2);
    let size = (read_u24(&mut fields)? + 1, read_u24(&mut fields)? + 1);
    let fits = x + size.0 <= header.size.0 && y + size.1 <= header.size.1;
    if size != picture.size || !fits {
        return Err(AvatarError::Damaged);
    }

    let mut frame = place.to_vec();
    picture.write(&mut frame);
    write_chunk(file, *b"ANMF", &frame);
    Ok(size)
}

/// The extended header.
struct Header {
    flags: u8,
    size: (u32, u32),
}

impl Header {
    fn read(data: &[u8]) -> Result<Self, AvatarError> {
        let mut unread = Unread(data);
        let [flags, _, _, _] = unread.array()?;
        let size = (read_u24(&mut unread)? + 1, read_u24(&mut unread)? + 1);
        Ok(Self { flags, size })
    }

    fn write(&self, file: &mut Vec<u8>) {
        let mut data = vec![self.flags, 0, 0, 0];
        for side in [self.size.0, self.size.1] {
            let [low, middle, high, _] = (side - 1).to_le_bytes();
            data.extend_from_slice(&[low, middle, high]);
        }
        write_chunk(file, *b"VP8X", &data);
    }
}

/// One bit stream and what belongs to it.
struct Picture<'a> {
    bitstream: Chunk<'a>,
    size: (u32, u32),
    /// The transparency of a lossy bit stream; a lossless one holds its own.
    alpha: Option<Chunk<'a>>,
    orientation: Orientation,
}

impl<'a> Picture<'a> {
    /// Reads chunks to the end. There has to be exactly one bit stream among them.
    fn read(mut unread: Unread<'a>) -> Result<Self, AvatarError> {
        let mut alpha = None;
        let mut lossy = None;
        let mut lossless = None;
        let mut orientation = None;
        while !unread.0.is_empty() {
            let chunk = Chunk::read(&mut unread)?;
            let place = match &chunk.id {
                b"ALPH" => &mut alpha,
                b"VP8 " => &mut lossy,
                b"VP8L" => &mut lossless,
                b"EXIF" => {
                    orientation = orientation.or_else(|| exif_orientation(chunk.data));
                    continue;
                }
                _ => continue,
            };
            if place.replace(chunk).is_some() {
                return Err(AvatarError::Damaged);
            }
        }

        let (bitstream, size, alpha) = match (lossy, lossless) {
            (Some(chunk), None) => (chunk, lossy_size(chunk.data)?, alpha),
            (None, Some(chunk)) => (chunk, lossless_size(chunk.data)?, None),
            (None, None) | (Some(_), Some(_)) => return Err(AvatarError::Damaged),
        };
        Ok(Self {
            bitstream,
            size,
            alpha,
            orientation: orientation.unwrap_or(Orientation::NoTransforms),
        })
    }

    fn write(&self, file: &mut Vec<u8>) {
        for chunk in self.alpha.iter().chain([&self.bitstream]) {
            write_chunk(file, chunk.id, chunk.data);
        }
    }
}

/// Reads the width and height of a key frame (RFC 6386 §9.1).
fn lossy_size(data: &[u8]) -> Result<(u32, u32), AvatarError> {
    let [tag, _, _, 0x9d, 0x01, 0x2a, w0, w1, h0, h1] = Unread(data).array()? else {
        return Err(AvatarError::Damaged);
    };
    if tag & 1 != 0 {
        return Err(AvatarError::Damaged);
    }
    // The upper two bits ask for scaling, which nobody does.
    let length = |bytes| u32::from(u16::from_le_bytes(bytes) & 0x3fff);
    match (length([w0, w1]), length([h0, h1])) {
        (0, _) | (_, 0) => Err(AvatarError::Damaged),
        size => Ok(size),
    }
}

/// Reads the width and height of a lossless bit stream (RFC 9649 §3.4).
fn lossless_size(data: &[u8]) -> Result<(u32, u32), AvatarError> {
    let mut unread = Unread(data);
    if unread.byte()? != 0x2f {
        return Err(AvatarError::Damaged);
    }
    let bits = u32::from_le_bytes(unread.array()?);
    Ok(((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1))
}

/// Some programs put the first bytes of JPEG's segment before the data itself.
fn exif_orientation(data: &[u8]) -> Option<Orientation> {
    Orientation::from_exif_chunk(data.strip_prefix(b"Exif\0\0").unwrap_or(data))
}

/// A piece of the file (RFC 9649 §2.3).
#[derive(Clone, Copy)]
struct Chunk<'a> {
    id: [u8; 4],
    data: &'a [u8],
}

impl<'a> Chunk<'a> {
    fn read(unread: &mut Unread<'a>) -> Result<Self, AvatarError> {
        let id = unread.array()?;
        let length = length_from(unread.array()?)?;
        let data = unread.take(length)?;
        // Files lack the padding of their last chunk now and then.
        if length % 2 == 1 && !unread.0.is_empty() {
            unread.byte()?;
        }
        Ok(Self { id, data })
    }
}

fn write_chunk(file: &mut Vec<u8>, id: [u8; 4], data: &[u8]) {
    file.extend_from_slice(&id);
    file.extend_from_slice(&length_to(data.len()));
    file.extend_from_slice(data);
    if data.len() % 2 == 1 {
        file.push(0);
    }
}

fn riff(chunks: &[u8]) -> Vec<u8> {
    let mut file = b"RIFF".to_vec();
    file.extend_from_slice(&length_to(chunks.len() + b"WEBP".len()));
    file.extend_from_slice(b"WEBP");
    file.extend_from_slice(chunks);
    file
}

fn length_from(bytes: [u8; 4]) -> Result<usize, AvatarError> {
    u32::from_le_bytes(bytes)
        .try_into()
        .or(Err(AvatarError::Damaged))
}

/// A file is never longer than the upload that it came from, and that fits many times.
fn length_to(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes()
}

fn read_u24(unread: &mut Unread<'_>) -> Result<u32, AvatarError> {
    let [low, middle, high] = unread.array()?;
    Ok(u32::from_le_bytes([low, middle, high, 0]))
}

#[cfg(test)]
mod tests {
    use super::super::samples::{self, ALPHA as ALPHA_DATA, LOSSY};
    use super::super::{Avatar, ImageType};
    use super::*;

    fn lossless(width: u32, height: u32) -> Vec<u8> {
        samples::webp_chunks(&samples::encode(
            samples::picture(width, height),
            ImageType::WebP,
        ))
    }

    fn lossy() -> Vec<u8> {
        samples::webp_chunk("VP8 ", LOSSY)
    }

    fn alpha() -> Vec<u8> {
        samples::webp_chunk("ALPH", ALPHA_DATA)
    }

    fn anim() -> Vec<u8> {
        samples::webp_chunk("ANIM", &[0; 6])
    }

    fn stripped(chunks: &[Vec<u8>]) -> Result<Vec<u8>, AvatarError> {
        strip(&samples::riff(&chunks.concat())).map(|stripped| stripped.bytes)
    }

    #[test]
    fn only_the_picture_is_kept() {
        let (laden, clean) = samples::laden_and_clean_webp();

        assert_eq!(strip(&laden).unwrap().bytes, clean);
        assert_eq!(strip(&clean).unwrap().bytes, clean);
        let avatar = Avatar::from_upload(&laden, ImageType::WebP).unwrap();
        assert_eq!(avatar.bytes(), clean);
    }

    #[test]
    fn a_still_picture_keeps_a_header_only_for_its_transparency() {
        let junk = samples::webp_chunk("JUNK", b"odd");
        let header = |flags, width, height| samples::webp_header(flags, width, height);
        let cases = [
            (vec![lossless(7, 5)], vec![lossless(7, 5)]),
            (vec![lossless(7, 5), junk.clone()], vec![lossless(7, 5)]),
            (
                vec![header(0xfd, 7, 5), lossless(7, 5)],
                vec![lossless(7, 5)],
            ),
            (
                vec![header(0x10, 7, 5), alpha(), lossless(7, 5)],
                vec![lossless(7, 5)],
            ),
            (vec![header(0x10, 16, 12), lossy()], vec![lossy()]),
            (
                vec![header(0xfd, 16, 12), junk, alpha(), lossy()],
                vec![header(0x10, 16, 12), alpha(), lossy()],
            ),
        ];

        for (chunks, expected) in cases {
            assert_eq!(
                stripped(&chunks).unwrap(),
                samples::riff(&expected.concat())
            );
        }
    }

    #[test]
    fn frames_are_counted_with_the_canvas_as_the_least() {
        let (laden, _) = samples::laden_and_clean_webp();

        let frames = strip(&laden).unwrap().frames;

        assert_eq!(
            (frames.count, frames.total_pixels, frames.largest_pixels),
            (3, 576, 192)
        );
    }

    #[test]
    fn the_last_chunk_may_lack_its_padding() {
        let mut file =
            samples::riff(&[lossless(7, 5), samples::webp_chunk("JUNK", b"odd")].concat());
        file.pop();
        let length = u32::try_from(file.len() - 8).unwrap();
        file[4..8].copy_from_slice(&length.to_le_bytes());

        assert_eq!(strip(&file).unwrap().bytes, samples::riff(&lossless(7, 5)));
    }

    #[test]
    fn a_walk_that_fails_is_a_damaged_file() {
        let (laden, clean) = samples::laden_and_clean_webp();
        for length in 0..clean.len() {
            assert!(
                strip(&laden[..length]).is_err(),
                "{length} of {}",
                clean.len()
            );
        }
    }

    fn assert_damaged(what: &str, chunks: &[Vec<u8>]) {
        let error = stripped(chunks).err();
        assert_eq!(error, Some(AvatarError::Damaged), "{what}");
    }

    #[test]
    fn a_still_picture_has_one_bit_stream_of_its_size() {
        let header = |width, height| samples::webp_header(0x10, width, height);

        assert_damaged("nothing", &[]);
        assert_damaged("no picture", &[header(16, 12)]);
        assert_damaged("two pictures", &[lossless(7, 5), lossless(7, 5)]);
        assert_damaged("two kinds", &[lossy(), lossless(16, 12)]);
        assert_damaged("two alphas", &[header(16, 12), alpha(), alpha(), lossy()]);
        assert_damaged("another canvas", &[header(17, 12), lossy()]);
        assert_damaged("another canvas", &[header(7, 6), lossless(7, 5)]);
        let short = samples::webp_chunk("VP8X", &[0; 9]);
        assert_damaged("a short header", &[short, lossy()]);
    }

    #[test]
    fn a_bit_stream_has_its_signature_and_a_size() {
        let mut between = LOSSY.to_vec();
        between[0] |= 1;
        let mut flat = LOSSY.to_vec();
        flat[8..10].fill(0);

        for (id, data) in [
            ("VP8 ", between.as_slice()),
            ("VP8 ", &[0; 50]),
            ("VP8 ", &LOSSY[..9]),
            ("VP8L", &[0x2e, 0, 0, 0, 0]),
            ("VP8L", &[0x2f, 0, 0, 0]),
        ] {
            assert_damaged(id, &[samples::webp_chunk(id, data)]);
        }
        let flat = samples::webp_chunk("VP8 ", &flat);
        assert_damaged("no height", &[alpha(), flat]);
    }

    #[test]
    fn an_animation_has_parameters_and_frames_that_fit() {
        let header = || samples::webp_header(0x02, 16, 12);
        let frame = |x, y, width, height| samples::webp_frame(x, y, width, height, &lossy());
        let short = samples::webp_chunk("ANIM", &[0; 5]);

        let twice = samples::webp_chunk("ANIM", &[1; 6]);
        let kept = stripped(&[header(), anim(), twice, frame(0, 0, 16, 12)]).unwrap();
        let clean = [header(), anim(), frame(0, 0, 16, 12)].concat();
        assert_eq!(kept, samples::riff(&clean));
        assert_damaged("no parameters", &[header(), frame(0, 0, 16, 12)]);
        assert_damaged("short ones", &[header(), short, frame(0, 0, 16, 12)]);
        assert_damaged("no frames", &[header(), anim(), lossy()]);
        assert_damaged("off the right", &[header(), anim(), frame(2, 0, 16, 12)]);
        assert_damaged("off the bottom", &[header(), anim(), frame(0, 2, 16, 12)]);
        assert_damaged("another size", &[header(), anim(), frame(0, 0, 8, 12)]);
        let empty = samples::webp_frame(0, 0, 16, 12, &[]);
        assert_damaged("an empty frame", &[header(), anim(), empty]);
        let short = samples::webp_chunk("ANMF", &[0; 15]);
        assert_damaged("a short frame", &[header(), anim(), short]);
        let lying = samples::webp_frame(0, 0, 8, 6, &[alpha(), lossy()].concat());
        assert_damaged("another size, with alpha", &[header(), anim(), lying]);
    }

    #[test]
    fn the_decoder_finds_what_the_walk_does_not() {
        let mut torn = LOSSY.to_vec();
        torn.truncate(20);
        let frames = [
            samples::webp_frame(0, 0, 16, 12, &lossy()),
            samples::webp_frame(0, 0, 16, 12, &samples::webp_chunk("VP8 ", &torn)),
        ];
        let chunks = [samples::webp_header(0x02, 16, 12), anim(), frames.concat()];
        let file = samples::riff(&chunks.concat());

        assert!(strip(&file).is_ok());
        assert_eq!(
            Avatar::from_upload(&file, ImageType::WebP),
            Err(AvatarError::Damaged),
        );
    }

    #[test]
    fn one_moving_frame_is_a_still_picture() {
        let frame = samples::webp_frame(0, 0, 7, 5, &lossless(7, 5));
        let chunks = [samples::webp_header(0x02, 7, 5), anim(), frame];
        let file = samples::riff(&chunks.concat());

        let avatar = Avatar::from_upload(&file, ImageType::WebP).unwrap();

        assert!(!avatar.bytes().windows(4).any(|window| window == b"ANMF"));
        assert_eq!(samples::size(avatar.bytes()), (7, 5));
    }
}
