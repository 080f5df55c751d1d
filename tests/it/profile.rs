//! The profile: the shown name, and the picture with everything that can be wrong with one.

use std::io::Cursor;

use image::{DynamicImage, ImageFormat, RgbImage};
use serde_json::{Value, json};

use super::harness::{Answer, Client, Sent, TestServer};

const PROFILE: &str = "/api/auth/profile";
const AVATAR: &str = "/api/auth/profile/avatar";
const TWO_MIB: usize = 2 * 1024 * 1024;

fn picture(format: ImageFormat) -> Vec<u8> {
    let image = RgbImage::from_fn(32, 24, |x, y| {
        image::Rgb([x, y, 40].map(|value| u8::try_from(value * 5).unwrap()))
    });
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::ImageRgb8(image)
        .write_to(&mut bytes, format)
        .unwrap();
    bytes.into_inner()
}

/// A PNG made this long by a private chunk before its end (PNG §4.7.2).
fn padded_png(length: usize) -> Vec<u8> {
    let png = picture(ImageFormat::Png);
    let (start, end) = png.split_at(png.len() - 12);
    let data = vec![b' '; length - png.len() - 12];
    let size = u32::try_from(data.len()).unwrap().to_be_bytes();
    let named = [b"prVt", &data[..]].concat();
    let sum = crc32(&named).to_be_bytes();
    [start, &size, &named, &sum, end].concat()
}

fn crc32(bytes: &[u8]) -> u32 {
    let add = |sum: u32, byte: &u8| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            if sum & 1 == 1 {
                (sum >> 1) ^ 0xedb8_8320
            } else {
                sum >> 1
            }
        })
    };
    !bytes.iter().fold(u32::MAX, add)
}

async fn upload(client: &Client, kind: &str, bytes: &[u8]) -> Answer {
    client.send("POST", AVATAR, Sent::of(kind, bytes)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_profile_has_a_user_name_and_nothing_else() {
    let server = TestServer::start();

    let answer = server.owner().get(PROFILE).await;

    insta::assert_json_snapshot!(answer.body, @r#"
    {
      "success": true,
      "username": "owner",
      "display_name": null,
      "has_avatar": false,
      "avatar_mtime": null,
      "avatar_content_type": null
    }
    "#);
    assert_eq!(server.owner().get(AVATAR).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shown_name_is_trimmed_bounded_and_cleared() {
    let server = TestServer::start();
    let longest = "\u{e9}".repeat(64);
    for (sent, shown) in [
        (json!("Home"), json!("Home")),
        (json!("  Home lab \u{3000}"), json!("Home lab")),
        (json!("Jose\u{301}"), json!("Jos\u{e9}")),
        (json!(longest), json!(longest)),
        (json!("<b>&\"'"), json!("<b>&\"'")),
        (json!(""), Value::Null),
        (json!("again"), json!("again")),
        (json!("   "), Value::Null),
        (json!("again"), json!("again")),
        (Value::Null, Value::Null),
    ] {
        let answer = server
            .owner()
            .put(PROFILE, json!({ "display_name": sent }))
            .await;
        assert_eq!(
            (answer.status, &answer.body["display_name"]),
            (200, &shown),
            "{sent}"
        );
        assert_eq!(answer.body["username"], "owner");
        assert_eq!(server.state()["display_name"], shown);
    }
    assert_eq!(
        server.audited("display name changed; rhost=192.168.1.20 user=owner"),
        10
    );
    for bad in [
        "x".repeat(65),
        "a\u{0}b".to_owned(),
        "a\nb".to_owned(),
        "a\u{85}b".to_owned(),
    ] {
        let answer = server
            .owner()
            .put(PROFILE, json!({ "display_name": bad }))
            .await;
        assert_eq!(answer.verdict(), (400, "invalid_display_name"), "{bad:?}");
        assert_eq!(answer.body["field"], "display_name");
    }
    assert_eq!(server.state()["display_name"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_comes_as_the_body_or_in_a_form() {
    let server = TestServer::start();
    server.advance(1);
    for (format, kind) in [
        (ImageFormat::Png, "image/png"),
        (ImageFormat::Jpeg, "image/jpeg"),
        (ImageFormat::Gif, "image/gif"),
        (ImageFormat::WebP, "image/webp"),
    ] {
        let bytes = picture(format);
        for sent in [Sent::of(kind, &bytes), Sent::form(kind, &bytes)] {
            let answer = server.owner().send("POST", AVATAR, sent).await;
            assert_eq!(answer.status, 200, "{kind}: {}", answer.body);
            assert_eq!(answer.body["avatar_content_type"], kind);
            assert_eq!(answer.body["avatar_mtime"], 1_767_323_046.0);
            assert!(answer.body["avatar_mtime"].is_f64());

            let shown = server.owner().get(AVATAR).await;
            assert_eq!((shown.status, shown.header("content-type")), (200, kind));
            let shown = image::load_from_memory(&shown.bytes).unwrap();
            assert_eq!((shown.width(), shown.height()), (32, 24));
        }
    }
    assert_eq!(
        server.audited("avatar changed; rhost=192.168.1.20 user=owner"),
        8
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_is_shown_where_it_can_do_nothing() {
    let server = TestServer::start();
    upload(&server.owner(), "image/png", &picture(ImageFormat::Png)).await;

    let answer = server.owner().get(AVATAR).await;

    assert_eq!(
        answer.header("content-security-policy"),
        "default-src 'none'; sandbox"
    );
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(server.neighbour().get(AVATAR).await.status, 401);
    assert_eq!(
        server.reloaded().get(AVATAR).await.status,
        401,
        "no cookie shows it"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_known_picture_is_not_sent_again() {
    let server = TestServer::start();
    upload(&server.owner(), "image/png", &picture(ImageFormat::Png)).await;
    let etag = server.owner().get(AVATAR).await.header("etag").to_owned();
    assert!(etag.starts_with('"') && etag.len() > 10, "{etag}");

    for known in [&etag[..], &format!("\"other\", W/{etag}"), "*"] {
        let again = server
            .owner()
            .with("if-none-match", known)
            .get(AVATAR)
            .await;
        assert_eq!((again.status, again.bytes.len()), (304, 0), "{known}");
        assert_eq!(again.header("etag"), etag);
    }
    upload(&server.owner(), "image/jpeg", &picture(ImageFormat::Jpeg)).await;
    let changed = server
        .owner()
        .with("if-none-match", &etag)
        .get(AVATAR)
        .await;
    assert_eq!(changed.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_mebibytes_are_taken_and_one_byte_more_is_not() {
    let server = TestServer::start();
    let exact = padded_png(TWO_MIB);
    let longer = padded_png(TWO_MIB + 1);
    assert_eq!((exact.len(), longer.len()), (TWO_MIB, TWO_MIB + 1));

    for sent in [
        Sent::of("image/png", &exact),
        Sent::form("image/png", &exact),
    ] {
        let answer = server.owner().send("POST", AVATAR, sent).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    for sent in [
        Sent::of("image/png", &longer),
        Sent::form("image/png", &longer),
    ] {
        let answer = server.owner().send("POST", AVATAR, sent).await;
        assert_eq!(answer.verdict(), (413, "avatar_too_large"));
    }
    let huge = Sent::form("image/png", &vec![0; 3 * TWO_MIB]);
    let answer = server.owner().send("POST", AVATAR, huge).await;
    assert_eq!(answer.verdict(), (413, "avatar_too_large"));
    let announced = server.owner().with("content-length", "2097153");
    let answer = upload(&announced, "image/png", b"").await;
    assert_eq!(
        answer.verdict(),
        (413, "avatar_too_large"),
        "before it is read"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_picture_is_refused_for_its_own_reason() {
    let server = TestServer::start();
    upload(&server.owner(), "image/png", &picture(ImageFormat::Png)).await;
    let before = server.owner().get(AVATAR).await.bytes;
    let png = picture(ImageFormat::Png);
    let svg = b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>";
    let cut = &png[..png.len() / 2];
    let mut huge = png.clone();
    huge[16..20].copy_from_slice(&5_000_u32.to_be_bytes());
    let sum = crc32(&huge[12..29]).to_be_bytes();
    huge[29..33].copy_from_slice(&sum);
    for (kind, bytes, status, code) in [
        ("image/svg+xml", &svg[..], 415, "avatar_unsupported"),
        ("text/plain", &png, 415, "avatar_unsupported"),
        ("image/png", svg, 415, "avatar_unsupported"),
        ("image/png", b"MZ\x90\x00", 415, "avatar_unsupported"),
        ("image/jpeg", &png, 400, "avatar_type_mismatch"),
        ("image/png", b"", 400, "avatar_empty"),
        ("image/png", cut, 400, "avatar_damaged"),
        ("image/png", &huge, 400, "avatar_dimensions"),
    ] {
        for sent in [Sent::of(kind, bytes), Sent::form(kind, bytes)] {
            let answer = server.owner().send("POST", AVATAR, sent).await;
            assert_eq!(answer.verdict(), (status, code), "{kind} {}", answer.body);
        }
    }
    assert_eq!(
        server.owner().get(AVATAR).await.bytes,
        before,
        "nothing was replaced"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_must_declare_its_type_and_a_part_of_a_form_need_not() {
    let server = TestServer::start();
    let png = picture(ImageFormat::Png);
    for kind in ["", "application/octet-stream"] {
        let raw = upload(&server.owner(), kind, &png).await;
        assert_eq!(raw.verdict(), (415, "avatar_unsupported"), "{kind}");
        let form = Sent::form(kind, &png);
        let answer = server.owner().send("POST", AVATAR, form).await;
        assert_eq!(answer.body["avatar_content_type"], "image/png", "{kind}");
        let form = Sent::form(kind, b"MZ");
        let answer = server.owner().send("POST", AVATAR, form).await;
        assert_eq!(answer.verdict(), (415, "avatar_unsupported"), "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_form_is_a_bad_request() {
    let server = TestServer::start();
    let other =
        b"--edge\r\nContent-Disposition: form-data; name=\"other\"\r\n\r\nx\r\n--edge--\r\n";
    for (kind, body) in [
        ("multipart/form-data", &b""[..]),
        ("multipart/form-data; boundary=edge", b""),
        ("multipart/form-data; boundary=edge", b"--edge\r\nnonsense"),
        ("multipart/form-data; boundary=edge", other),
    ] {
        let answer = upload(&server.owner(), kind, body).await;
        assert_eq!(answer.verdict(), (400, "bad_body"), "{kind} {body:?}");
        assert_eq!(answer.body["field"], "file");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_can_be_removed_twice() {
    let server = TestServer::start();
    upload(&server.owner(), "image/png", &picture(ImageFormat::Png)).await;
    assert!(server.file("avatar.bin").exists());

    for _ in 0..2 {
        let answer = server.owner().delete(AVATAR).await;
        assert_eq!(
            (answer.status, &answer.body["has_avatar"]),
            (200, &json!(false))
        );
        assert_eq!(answer.body["avatar_mtime"], Value::Null);
        assert!(!server.file("avatar.bin").exists());
        assert!(!server.file("avatar.type").exists());
    }
    assert_eq!(server.audited("avatar removed"), 1);
}
