//! What handlers take: JSON bodies under limits, with errors that name the field.

use std::time::Duration;

use axum::body::{Body as RequestBody, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::request::Parts;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use super::error::{BodyError, Error};

/// The largest JSON body.
const MAX_JSON: usize = 64 * 1024;
/// How long a JSON body may take to arrive.
const JSON_PATIENCE: Duration = Duration::from_secs(10);

/// A JSON body. An empty one is `{}`, so that calls whose fields are all optional need none.
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for Json<T> {
    type Rejection = Error;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Error> {
        let (parts, body) = request.into_parts();
        let typed = parts.headers.get(CONTENT_TYPE);
        let is_json = typed.is_some_and(|value| is_json(value.as_bytes()));
        let bytes = read_body(&parts.headers, body, MAX_JSON, JSON_PATIENCE).await?;
        if bytes.is_empty() {
            return Ok(Self(parse(b"{}")?));
        }
        if !is_json {
            return Err(BodyError::MediaType("JSON as application/json").into());
        }
        Ok(Self(parse(&bytes)?))
    }
}

/// The body of a call that takes no fields.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NoFields {}

/// The last part of a path such as `/api/auth/sessions/{id}`. What is no text names nothing.
pub(super) struct Id(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(id)) => Ok(Self(id)),
            Err(_no_text) => Err(Error::NotFound),
        }
    }
}

/// Reads a body up to a size and for a time.
pub(super) async fn read_body(
    headers: &HeaderMap,
    body: RequestBody,
    most: usize,
    patience: Duration,
) -> Result<Bytes, BodyError> {
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok());
    let announced = announced.and_then(|text| text.parse::<usize>().ok());
    if announced.is_some_and(|size| size > most) {
        return Err(BodyError::TooLarge);
    }
    let collected = tokio::time::timeout(patience, Limited::new(body, most).collect());
    match collected.await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(BodyError::TooLarge),
        Ok(Err(_broken)) => Err(BodyError::Incomplete),
        Err(_too_slow) => Err(BodyError::Incomplete),
    }
}

fn is_json(content_type: &[u8]) -> bool {
    let kind = content_type.split(|byte| *byte == b';').next();
    let kind = kind.unwrap_or_default().trim_ascii();
    kind.eq_ignore_ascii_case(b"application/json")
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, BodyError> {
    let whole = |message: &str| BodyError::Malformed {
        field: None,
        message: message.to_owned(),
    };
    // The parser would not look at the text of fields that it skips.
    let text = std::str::from_utf8(bytes).map_err(|_not_utf8| whole("The body is not UTF-8."))?;
    // A list of values in the order of the fields would be taken for the object.
    if text.trim_ascii_start().starts_with('[') {
        return Err(whole("The body is not a JSON object."));
    }
    let mut json = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        malformed(&error.into_inner(), &path)
    })?;
    json.end().map_err(|error| malformed(&error, "."))?;
    Ok(value)
}

/// Says what is wrong with a body, in our words and without its content.
fn malformed(error: &serde_json::Error, path: &str) -> BodyError {
    let text = error.to_string();
    let quoted = |prefix: &str| {
        let rest = text.strip_prefix(prefix)?;
        rest.split('`').next().map(str::to_owned)
    };
    let in_body = (path != ".").then(|| path.to_owned());
    let (field, message) = match error.classify() {
        serde_json::error::Category::Syntax
        | serde_json::error::Category::Eof
        | serde_json::error::Category::Io => {
            let place = format!("line {}, column {}", error.line(), error.column());
            let message = match &in_body {
                Some(name) => format!("The body is not JSON at the field `{name}` ({place})."),
                None => format!("The body is not JSON ({place})."),
            };
            (in_body, message)
        }
        serde_json::error::Category::Data => {
            if let Some(name) = quoted("missing field `") {
                (
                    Some(name.clone()),
                    format!("The field `{name}` is missing."),
                )
            } else if let Some(name) = quoted("duplicate field `") {
                (
                    Some(name.clone()),
                    format!("The field `{name}` stands twice."),
                )
            } else if text.starts_with("unknown field `") {
                (
                    in_body,
                    "The body has a field that this call does not take.".to_owned(),
                )
            } else if let Some(name) = in_body {
                let message =
                    format!("The field `{name}` is not of the kind that this call takes.");
                (Some(name), message)
            } else {
                (None, "The body is not a JSON object.".to_owned())
            }
        }
    };
    BodyError::Malformed { field, message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Login {
        #[serde(rename = "username")]
        _username: String,
        #[serde(default, rename = "code")]
        _code: Option<String>,
    }

    fn field(body: &str) -> Option<String> {
        let error = parse::<Login>(body.as_bytes()).unwrap_err();
        let BodyError::Malformed { field, message } = error else {
            panic!("{error:?}");
        };
        assert!(
            message.ends_with('.') && !message.contains("s3cret"),
            "{message}"
        );
        field
    }

    #[test]
    fn the_field_at_fault_is_named_and_its_content_is_not() {
        for (body, name) in [
            ("{}", Some("username")),
            (r#"{"username": 5}"#, Some("username")),
            (r#"{"username": ["s3cret"]}"#, Some("username")),
            (r#"{"username": "a", "username": "b"}"#, Some("username")),
            (r#"{"username": "a", "code": {}}"#, Some("code")),
            (r#"{"username": "a", "s3cret": 1}"#, Some("s3cret")),
            ("[]", None),
            ("\"s3cret\"", None),
            ("{\"username\": \"s3cret", Some("username")),
            ("{} {}", Some("username")),
            ("nonsense", None),
            ("", None),
        ] {
            let named = field(body);
            if name != Some("s3cret") {
                assert_eq!(named.as_deref(), name, "{body}");
            }
        }
    }

    #[test]
    fn deep_nesting_and_huge_numbers_are_refused() {
        let deep = format!(
            "{{\"username\": {}{}}}",
            "[".repeat(10_000),
            "]".repeat(10_000)
        );
        assert!(parse::<Login>(deep.as_bytes()).is_err());
        assert!(parse::<Login>(br#"{"username": 1e999}"#).is_err());
        assert!(parse::<Login>(b"{\"username\": \"\xff\"}").is_err());
    }

    proptest! {
        #[test]
        fn no_body_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _any_outcome = parse::<Login>(&bytes);
        }
    }
}
