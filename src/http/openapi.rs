//! The API's own description (OpenAPI 3.1), made from the table of routes.

use axum::Json;
use serde_json::{Map, Value, json};
use utoipa::openapi::schema::Schema;
use utoipa::openapi::{RefOr, schema};
use utoipa::{PartialSchema, ToSchema};

use super::routes::{Route, routes};
use crate::access::rights::Right;

/// What a route takes and gives.
#[derive(Default)]
pub(super) struct Shapes {
    pub(super) takes: Option<Shape>,
    pub(super) gives: Option<Shape>,
}

/// The form of a body.
pub(super) enum Shape {
    /// JSON of a named type.
    Json {
        /// The type's name.
        name: String,
        /// The type and all that it is made of.
        schemas: Vec<(String, RefOr<Schema>)>,
    },
    /// A picture.
    Image,
}

impl Shape {
    /// Describes a JSON body.
    pub(super) fn json<T: ToSchema + PartialSchema>() -> Self {
        let mut schemas = vec![(T::name().into_owned(), T::schema())];
        T::schemas(&mut schemas);
        Self::Json {
            name: T::name().into_owned(),
            schemas,
        }
    }

    fn content(&self) -> Value {
        match self {
            Self::Json { name, .. } => json!({
                "application/json": { "schema": schema::Ref::from_schema_name(name) }
            }),
            Self::Image => {
                let binary = json!({ "schema": { "type": "string", "format": "binary" } });
                let kinds = ["image/png", "image/jpeg", "image/webp", "image/gif"];
                Value::Object(
                    kinds
                        .map(|kind| (kind.to_owned(), binary.clone()))
                        .into_iter()
                        .collect(),
                )
            }
        }
    }
}

/// Answers with the document.
pub(super) async fn show() -> Json<Value> {
    Json(document())
}

/// Returns the document.
pub fn document() -> Value {
    let mut paths = Map::new();
    let mut schemas = Map::new();
    schemas.insert("Failure".to_owned(), failure());
    for route in routes() {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        if let Some(path) = path.as_object_mut() {
            let method = route.method.as_str().to_ascii_lowercase();
            path.insert(method, operation(&route));
        }
        for shape in [&route.shapes.takes, &route.shapes.gives] {
            if let Some(Shape::Json { schemas: used, .. }) = shape {
                for (name, schema) in used {
                    schemas.insert(name.clone(), json!(schema));
                }
            }
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "ProxMenux Monitor",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "GPL-3.0-or-later", "identifier": "GPL-3.0-or-later" },
        },
        "servers": [{ "url": "../" }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" },
            },
        },
    })
}

fn operation(route: &Route) -> Value {
    let mut done = json!({ "description": "Done." });
    if let (Some(gives), Some(done)) = (&route.shapes.gives, done.as_object_mut()) {
        done.insert("content".to_owned(), gives.content());
    }
    let failure = schema::Ref::from_schema_name("Failure");
    let mut operation = Map::new();
    let mut say = |key: &str, value: Value| operation.insert(key.to_owned(), value);
    say("summary", route.summary.into());
    say("operationId", operation_id(route).into());
    if let Some(needs) = needs(route.right) {
        say("description", format!("Needs {needs}.").into());
    }
    if !matches!(route.right, Right::Public | Right::Setup | Right::Reopen) {
        say("security", json!([{ "bearer": [] }]));
    }
    let names = path_names(route.path);
    if !names.is_empty() {
        say("parameters", names.into());
    }
    if let Some(takes) = &route.shapes.takes {
        say("requestBody", json!({ "content": takes.content() }));
    }
    say(
        "responses",
        json!({
            "200": done,
            "default": {
                "description": "Refused or failed.",
                "content": { "application/json": { "schema": failure } },
            },
        }),
    );
    operation.into()
}

fn needs(right: Right) -> Option<&'static str> {
    match right {
        Right::Public => None,
        Right::Setup | Right::Reopen => Some("the rule of set-up"),
        Right::Metrics => Some("a session, or a token with the scope metrics"),
        Right::Read => Some("a session, or a token with the scope read_only"),
        Right::Trial => Some(
            "a session, or a token with the scope read_only; nothing while a certificate is tried",
        ),
        Right::Challenge => Some("any valid credential; nothing while a certificate is ordered"),
        Right::Operate => Some("a session, or a token with the scope operator"),
        Right::Admin => Some("a session, or a token with the scope full_admin"),
        Right::Session => Some("a session"),
        Right::Terminal => {
            Some("a session, or a token with the scope full_admin that was made with `terminal`")
        }
    }
}

fn path_names(path: &str) -> Vec<Value> {
    let parts = path.split('/');
    let names = parts.filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let names = names.map(|name| {
        json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } })
    });
    names.collect()
}

fn operation_id(route: &Route) -> String {
    let path = route.path.trim_start_matches("/api");
    let words = path
        .split(['/', '-', '.', '{', '}'])
        .filter(|word| !word.is_empty());
    let words = Vec::from_iter(words);
    format!(
        "{}_{}",
        route.method.as_str().to_ascii_lowercase(),
        words.join("_")
    )
}

fn failure() -> Value {
    json!({
        "type": "object",
        "required": ["success", "error", "message", "code"],
        "properties": {
            "success": { "type": "boolean", "const": false },
            "error": { "type": "string", "description": "A short text." },
            "message": { "type": "string", "description": "A sentence for people that says what to do." },
            "code": { "type": "string", "description": "Stable; what programs tell failures apart by." },
            "field": { "type": "string", "description": "The field at fault." },
            "rules": { "type": "array", "items": { "type": "string" }, "description": "The rules that a new password breaks." },
            "requires_totp": { "type": "boolean" },
            "clock_skew_seconds": { "type": "integer", "description": "How far ahead the phone's clock is." },
            "server_time": { "type": "string", "format": "date-time" },
            "retry_after": { "type": "integer", "description": "Whole seconds to wait." },
            "until": { "type": "string", "format": "date-time" },
            "address": { "type": "string" },
            "subject": { "type": "string", "description": "What was counted: address, network48, device, proxy or account." },
            "file": { "type": "string" },
            "line": { "type": "integer" },
            "problem": { "type": "string" },
        },
    })
}
