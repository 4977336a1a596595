//! The rules of the Messages API for a request, as far as they are documented. The player refuses
//! what the provider would refuse, so that a test against it is worth something.

use axum::http::HeaderMap;
use serde_json::Value;

use super::binding;
use crate::claude::form;
use crate::claude::models::{Model, ModelTable, Thinking};

/// A refusal: HTTP status, the provider's name for it, and words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub status: u16,
    pub kind: &'static str,
    pub message: String,
}

/// A refusal of the request as such.
pub fn invalid(message: impl Into<String>) -> Refusal {
    Refusal { status: 400, kind: "invalid_request_error", message: message.into() }
}

const VERSIONS: [&str; 2] = ["2026-10-21", "2023-06-01"];

const MEMBERS: [&str; 19] = [
    "model",
    "max_tokens",
    "messages",
    "system",
    "tools",
    "tool_choice",
    "stop_sequences",
    "stream",
    "thinking",
    "output_config",
    "cache_control",
    "metadata",
    "service_tier",
    "speed",
    "inference_geo",
    "diagnostics",
    "container",
    "context_management",
    "user_profile_id",
];

/// Checks the headers of a request.
pub fn check_headers(headers: &HeaderMap) -> Result<(), Refusal> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
    // Documented is `x-api-key`; the provider's own packages of 2026 send a bearer token instead.
    if text("x-api-key").is_empty() && !text("authorization").starts_with("Bearer ") {
        return Err(Refusal {
            status: 401,
            kind: "authentication_error",
            message: "x-api-key header is required".into(),
        });
    }
    if !VERSIONS.contains(&text("anthropic-version")) {
        return Err(invalid("anthropic-version: header is required and must be a known version"));
    }
    if !text("content-type").starts_with("application/json") {
        return Err(invalid("content-type must be application/json"));
    }
    Ok(())
}

/// Checks the body of a request, all but what only a script can know.
pub fn check_body<'t>(body: &Value, table: &'t ModelTable) -> Result<&'t Model, Refusal> {
    let members = body.as_object().ok_or_else(|| invalid("the body must be a JSON object"))?;
    for name in members.keys() {
        if matches!(name.as_str(), "temperature" | "top_p" | "top_k") {
            return Err(invalid(format!("`{name}` is not supported in this API version")));
        }
        if !MEMBERS.contains(&name.as_str()) {
            return Err(invalid(format!("{name}: Extra inputs are not permitted")));
        }
    }
    let id = body["model"].as_str().ok_or_else(|| invalid("model: Field required"))?;
    // No clock: the player knows every model of the table that was not retired by its last day.
    let offer = table.lookup(id, jiff::civil::Date::MAX).map_err(|_| Refusal {
        status: 404,
        kind: "not_found_error",
        message: format!("model: {id}"),
    })?;
    let model = offer.model;
    check_limits(body, model)?;
    check_thinking(body, model)?;
    check_tools(body, model)?;
    check_marks(body)?;
    let messages =
        body["messages"].as_array().ok_or_else(|| invalid("messages: Field required"))?;
    let texts: Vec<String> = messages.iter().map(Value::to_string).collect();
    form::well_formed(&texts).map_err(|bad| invalid(bad.to_string()))?;
    if model.binds_thinking {
        binding::check(body).map_err(invalid)?;
    }
    Ok(model)
}

fn check_limits(body: &Value, model: &Model) -> Result<(), Refusal> {
    let max = body["max_tokens"].as_u64().ok_or_else(|| invalid("max_tokens: Field required"))?;
    if max > u64::from(model.max_output_tokens) {
        return Err(invalid(format!(
            "max_tokens: {max} > {}, which is the maximum allowed number of output tokens for {}",
            model.max_output_tokens, model.id
        )));
    }
    if max == 0 && body["stream"] == true {
        return Err(invalid("max_tokens: 0 is not supported with `stream: true`"));
    }
    Ok(())
}

fn check_thinking(body: &Value, model: &Model) -> Result<(), Refusal> {
    let thinking = &body["thinking"];
    let display = thinking["display"].as_str();
    if !matches!(display, None | Some("summarized" | "omitted")) {
        return Err(invalid("thinking.display: must be `summarized` or `omitted`"));
    }
    let fits = match (thinking["type"].as_str(), model.thinking) {
        (None, _) => thinking.is_null(),
        (Some("adaptive"), Thinking::Always | Thinking::Adaptive) => true,
        (Some("disabled" | "between_tools"), Thinking::Adaptive) => true,
        (Some("enabled" | "disabled"), Thinking::None) => true,
        _ => false,
    };
    if !fits {
        return Err(invalid(format!("thinking.type: not supported by {}", model.id)));
    }
    if let Some(effort) = body["output_config"]["effort"].as_str()
        && !model.efforts.iter().any(|known| known.to_string() == effort)
    {
        return Err(invalid(format!(
            "output_config.effort: `{effort}` is not supported by {}",
            model.id
        )));
    }
    let format = &body["output_config"]["format"];
    if !format.is_null() {
        if format["type"] != "json_schema" {
            return Err(invalid("output_config.format.type: must be `json_schema`"));
        }
        check_strict_schema(&format["schema"], "output_config.format.schema")?;
    }
    Ok(())
}

fn check_tools(body: &Value, model: &Model) -> Result<(), Refusal> {
    let choice = body["tool_choice"]["type"].as_str();
    if matches!(choice, Some("any" | "tool")) && !model.forced_tool_choice {
        return Err(invalid(format!(
            "tool_choice.type: `{}` is not supported by {}; use `auto` or `none`",
            choice.unwrap_or_default(),
            model.id
        )));
    }
    let none = Vec::new();
    let tools = body["tools"].as_array().unwrap_or(&none);
    let mut names = std::collections::BTreeSet::new();
    for (index, tool) in tools.iter().enumerate() {
        let name = tool["name"].as_str().unwrap_or_default();
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if name.is_empty() || name.len() > 128 || !name.chars().all(plain) {
            return Err(invalid(format!(
                "tools.{index}.name: must match ^[a-zA-Z0-9_-]{{1,128}}$"
            )));
        }
        if !names.insert(name) {
            return Err(invalid("tools: Tool names must be unique."));
        }
        let expected = match tool["type"].as_str() {
            None | Some("custom") => None,
            Some("bash_20250124") => Some("bash"),
            Some("text_editor_20250728") => Some("str_replace_based_edit_tool"),
            Some(kind) => return Err(invalid(format!("tools.{index}.type: unknown tag `{kind}`"))),
        };
        match expected {
            Some(expected) if expected != name => {
                return Err(invalid(format!("tools.{index}.name: Input should be '{expected}'")));
            }
            Some(_) => {}
            None if tool["input_schema"]["type"] != "object" => {
                return Err(invalid(format!(
                    "tools.{index}.input_schema.type: Input should be 'object'"
                )));
            }
            None if tool["strict"] == true => {
                check_strict_schema(&tool["input_schema"], &format!("tools.{index}.input_schema"))?;
            }
            None => {}
        }
    }
    Ok(())
}

/// Constraints that a strict schema may not state, because no grammar is made of them.
const NOT_STRICT: [&str; 11] = [
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "maxItems",
    "uniqueItems",
    "minProperties",
    "maxProperties",
];

fn check_strict_schema(schema: &Value, place: &str) -> Result<(), Refusal> {
    let Some(members) = schema.as_object() else { return Ok(()) };
    if schema["type"] == "object" && schema["additionalProperties"] != false {
        return Err(invalid(format!(
            "{place}: For 'object' type, 'additionalProperties' must be explicitly set to false"
        )));
    }
    if let Some(name) = NOT_STRICT.iter().find(|name| members.contains_key(**name)) {
        return Err(invalid(format!("{place}: property '{name}' is not supported")));
    }
    if members.get("minItems").and_then(Value::as_u64).is_some_and(|least| least > 1) {
        return Err(invalid(format!("{place}: 'minItems' must be 0 or 1")));
    }
    for (name, part) in members {
        let place = format!("{place}.{name}");
        match (name.as_str(), part) {
            ("properties" | "$defs" | "definitions", Value::Object(parts)) => {
                parts.values().try_for_each(|part| check_strict_schema(part, &place))?;
            }
            ("anyOf" | "allOf" | "oneOf", Value::Array(parts)) => {
                parts.iter().try_for_each(|part| check_strict_schema(part, &place))?;
            }
            ("items", part) => check_strict_schema(part, &place)?,
            _ => {}
        }
    }
    Ok(())
}

fn check_marks(body: &Value) -> Result<(), Refusal> {
    let mut count = usize::from(!body["cache_control"].is_null());
    count += marks_in(&body["system"]) + marks_in(&body["tools"]);
    for message in body["messages"].as_array().into_iter().flatten() {
        count += marks_in(&message["content"]);
    }
    if count > 4 {
        return Err(invalid(format!(
            "A maximum of 4 blocks with cache_control may be provided. Found {count}."
        )));
    }
    Ok(())
}

fn marks_in(blocks: &Value) -> usize {
    let blocks = blocks.as_array().into_iter().flatten();
    blocks
        .map(|block| usize::from(!block["cache_control"].is_null()) + marks_in(&block["content"]))
        .sum()
}
