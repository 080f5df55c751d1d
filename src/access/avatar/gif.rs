//! Strips a GIF of all that is not picture.
//!
//! Kept are the screen, the colour tables, the frames with their timing, and how often they repeat.
//! Comments, texts, what applications left behind, and whatever follows the end are dropped.

use image::metadata::Orientation;

use super::{AvatarError, Frames, Stripped, Unread};

// Block and extension labels (GIF89a, Appendix A).
const EXTENSION: u8 = 0x21;
const IMAGE: u8 = 0x2c;
const TRAILER: u8 = 0x3b;
const PLAIN_TEXT: u8 = 0x01;
const GRAPHIC_CONTROL: u8 = 0xf9;
const APPLICATION: u8 = 0xff;

/// The application whose extension tells how often an animation repeats, and its synonym.
const LOOPING: [&[u8]; 2] = [b"NETSCAPE2.0", b"ANIMEXTS1.0"];

/// Returns the file with nothing but the picture.
pub(super) fn strip(bytes: &[u8]) -> Result<Stripped, AvatarError> {
    let mut unread = Unread(bytes);
    let signature: [u8; 6] = unread.array()?;
    let screen: [u8; 7] = unread.array()?;
    let [w0, w1, h0, h1, flags, ..] = screen;
    let color_table = unread.take(color_table_length(flags))?;

    let mut kept = Vec::with_capacity(bytes.len());
    kept.extend_from_slice(&signature);
    kept.extend_from_slice(&screen);
    kept.extend_from_slice(color_table);
    let mut frames = Frames::on_canvas(u16_from(w0, w1), u16_from(h0, h1));
    let mut control: Option<[u8; 4]> = None;
    let mut repeats: Option<[u8; 2]> = None;
    loop {
        match unread.byte()? {
            EXTENSION => match unread.byte()? {
                GRAPHIC_CONTROL => control = Some(read_control(&mut unread)?),
                APPLICATION => {
                    let found = read_repeats(&mut unread)?.filter(|_| repeats.is_none());
                    if let Some(count) = found {
                        write_repeats(&mut kept, count);
                        repeats = found;
                    }
                }
                label => {
                    read_sub_blocks(&mut unread)?;
                    // A control belongs to the next thing that is drawn; a text is one.
                    control = control.filter(|_| label != PLAIN_TEXT);
                }
            },
            IMAGE => {
                if let Some(control) = control.take() {
                    write_control(&mut kept, control);
                }
                copy_image(&mut unread, &mut kept, &mut frames)?;
            }
            TRAILER => break,
            _ => return Err(AvatarError::Damaged),
        }
    }
    kept.push(TRAILER);
    if frames.count == 0 {
        return Err(AvatarError::Damaged);
    }
    Ok(Stripped {
        bytes: kept,
        frames,
        orientation: Orientation::NoTransforms,
    })
}

fn copy_image(
    unread: &mut Unread<'_>,
    kept: &mut Vec<u8>,
    frames: &mut Frames,
) -> Result<(), AvatarError> {
    let descriptor: [u8; 9] = unread.array()?;
    let [_, _, _, _, w0, w1, h0, h1, flags] = descriptor;
    let (width, height) = (u16_from(w0, w1), u16_from(h0, h1));
    if width == 0 || height == 0 {
        return Err(AvatarError::Damaged);
    }
    let color_table = unread.take(color_table_length(flags))?;
    let code_size = unread.byte()?;
    let data = read_sub_blocks(unread)?;

    kept.push(IMAGE);
    kept.extend_from_slice(&descriptor);
    kept.extend_from_slice(color_table);
    kept.push(code_size);
    kept.extend_from_slice(data.raw);
    frames.add(width, height);
    Ok(())
}

/// Returns the length of the colour table that the flags of a screen or an image announce.
fn color_table_length(flags: u8) -> usize {
    if flags & 0x80 == 0 {
        0
    } else {
        3 << ((flags & 0x07) + 1)
    }
}

fn u16_from(low: u8, high: u8) -> u32 {
    u16::from_le_bytes([low, high]).into()
}

/// Data in blocks of up to 255 bytes, each after its length, up to a length of zero.
struct SubBlocks<'a> {
    raw: &'a [u8],
    blocks: Vec<&'a [u8]>,
}

fn read_sub_blocks<'a>(unread: &mut Unread<'a>) -> Result<SubBlocks<'a>, AvatarError> {
    let start = unread.0;
    let mut blocks = Vec::new();
    loop {
        let length = unread.byte()?;
        if length == 0 {
            break;
        }
        blocks.push(unread.take(length.into())?);
    }
    let raw = Unread(start).take(start.len() - unread.0.len())?;
    Ok(SubBlocks { raw, blocks })
}

fn read_control(unread: &mut Unread<'_>) -> Result<[u8; 4], AvatarError> {
    match read_sub_blocks(unread)?.blocks.as_slice() {
        [block] => (*block).try_into().or(Err(AvatarError::Damaged)),
        _ => Err(AvatarError::Damaged),
    }
}

fn write_control(kept: &mut Vec<u8>, control: [u8; 4]) {
    kept.extend_from_slice(&[EXTENSION, GRAPHIC_CONTROL, 4]);
    kept.extend_from_slice(&control);
    kept.push(0);
}

/// Reads an application's extension; if it is the one about repeating, returns how often.
fn read_repeats(unread: &mut Unread<'_>) -> Result<Option<[u8; 2]>, AvatarError> {
    let data = read_sub_blocks(unread)?;
    let Some((application, blocks)) = data.blocks.split_first() else {
        return Ok(None);
    };
    if !LOOPING.contains(application) {
        return Ok(None);
    }
    Ok(blocks.iter().find_map(|block| match block {
        [1, low, high] => Some([*low, *high]),
        _ => None,
    }))
}

fn write_repeats(kept: &mut Vec<u8>, [low, high]: [u8; 2]) {
    let [name, _] = LOOPING;
    kept.extend_from_slice(&[EXTENSION, APPLICATION, 11]);
    kept.extend_from_slice(name);
    kept.extend_from_slice(&[3, 1, low, high, 0]);
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    /// Puts something between the head of a GIF and its first frame.
    fn with(ballast: &[u8]) -> Vec<u8> {
        let gif = samples::animated_gif();
        let (start, rest) = gif.split_at(samples::gif_head_length(&gif));
        [start, ballast, rest].concat()
    }

    fn stripped(bytes: &[u8]) -> Vec<u8> {
        strip(bytes).unwrap().bytes
    }

    #[test]
    fn only_the_picture_is_kept() {
        let clean = samples::animated_gif();

        assert_eq!(stripped(&clean), clean);
        assert_eq!(stripped(&samples::laden_gif()), clean);
    }

    #[test]
    fn frames_are_counted_with_the_canvas_as_the_least() {
        let frames = strip(&samples::bare_gif((10, 5), (3, 4), 7))
            .unwrap()
            .frames;
        assert_eq!(
            (frames.count, frames.total_pixels, frames.largest_pixels),
            (7, 350, 50)
        );

        let frames = strip(&samples::bare_gif((2, 2), (3, 4), 2)).unwrap().frames;
        assert_eq!(
            (frames.count, frames.total_pixels, frames.largest_pixels),
            (2, 24, 12)
        );
    }

    #[test]
    fn how_often_it_repeats_is_kept_once() {
        let expected = samples::gif_extension(0xff, &[b"NETSCAPE2.0", &[1, 9, 2]]);
        let bare = samples::bare_gif((1, 1), (1, 1), 2);
        let (start, rest) = bare.split_at(samples::gif_head_length(&bare));

        for blocks in [
            &[&b"NETSCAPE2.0"[..], &[1, 9, 2]][..],
            &[b"ANIMEXTS1.0", &[1, 9, 2]],
            &[
                b"NETSCAPE2.0",
                b"hidden",
                &[2, 0, 0, 0, 0],
                &[1, 9, 2],
                b"hidden",
            ],
        ] {
            let extension = samples::gif_extension(0xff, blocks);
            let twice = samples::gif_extension(0xff, &[b"NETSCAPE2.0", &[1, 0, 0]]);
            let gif = [start, &extension, &twice, rest].concat();
            assert_eq!(
                stripped(&gif),
                [start, &expected, rest].concat(),
                "{blocks:?}"
            );
        }
        for blocks in [
            &[&b"NETSCAPE2.0"[..]][..],
            &[b"NETSCAPE2.0", &[1, 9]],
            &[b"NETSCAPE2.1", &[1, 9, 2]],
            &[],
        ] {
            let extension = samples::gif_extension(0xff, blocks);
            assert_eq!(
                stripped(&[start, &extension, rest].concat()),
                bare,
                "{blocks:?}"
            );
        }
    }

    #[test]
    fn a_control_stays_with_its_frame() {
        let bare = samples::bare_gif((1, 1), (1, 1), 1);
        let (start, rest) = bare.split_at(samples::gif_head_length(&bare));
        let control = samples::gif_extension(0xf9, &[&[4, 8, 0, 0]]);
        let comment = samples::gif_extension(0xfe, &[b"x"]);
        let text = samples::gif_extension(0x01, &[&[0; 12], b"x"]);

        let kept = stripped(&[start, &control, &comment, rest].concat());
        assert_eq!(kept, [start, &control, rest].concat());
        let dropped = stripped(&[start, &control, &text, rest].concat());
        assert_eq!(dropped, bare);
        let last_counts = stripped(&[start, &control, &control, rest].concat());
        assert_eq!(last_counts, [start, &control, rest].concat());
    }

    #[test]
    fn a_walk_that_fails_is_a_damaged_file() {
        let clean = samples::animated_gif();
        for length in 0..clean.len() {
            assert!(
                strip(&clean[..length]).is_err(),
                "{length} of {}",
                clean.len()
            );
        }
        let comment = samples::gif_extension(0xfe, &[b"x"]);
        let no_frame = samples::bare_gif((1, 1), (1, 1), 0);
        for damaged in [
            with(&[0x00]),
            with(&[0x22, 0xfe, 0]),
            with(&comment[..comment.len() - 1]),
            with(&samples::gif_extension(0xf9, &[&[0; 5]])),
            with(&samples::gif_extension(0xf9, &[&[0; 4], &[0; 4]])),
            with(&samples::gif_extension(0xf9, &[])),
            samples::bare_gif((1, 1), (0, 1), 2),
            samples::bare_gif((1, 1), (1, 0), 2),
            no_frame,
        ] {
            let error = strip(&damaged).err();
            assert_eq!(error, Some(AvatarError::Damaged));
        }
    }
}
