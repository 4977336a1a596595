//! The tools as assistants are told of them: `tools.json`, whole, as it goes over the wire. What each
//! does stands in `calls`.

use std::sync::LazyLock;

use rmcp::model::Tool;

const TEXT: &str = include_str!("tools.json");

/// Every tool, in the order in which they are listed; none if the file that was compiled in is broken,
/// which a test sees.
static TOOLS: LazyLock<Vec<Tool>> =
    LazyLock::new(|| serde_json::from_str(TEXT).unwrap_or_default());

/// The tools; those alone that change nothing if `is_readonly`.
pub fn all(is_readonly: bool) -> impl Iterator<Item = &'static Tool> {
    TOOLS.iter().filter(move |tool| !is_readonly || only_reads(tool))
}

/// The tool with this name, if it can be used here.
pub fn find(name: &str, is_readonly: bool) -> Option<&'static Tool> {
    all(is_readonly).find(|tool| tool.name == name)
}

fn only_reads(tool: &Tool) -> bool {
    tool.annotations.as_ref().is_some_and(|hints| hints.read_only_hint == Some(true))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// What all definitions may take of an assistant's attention.
    const MOST_BYTES: usize = 12_000;

    #[test]
    fn every_tool_says_what_it_does_and_is_closed() {
        let tools: Vec<&Tool> = all(false).collect();
        let names: Vec<&str> = tools.iter().map(|tool| &*tool.name).collect();
        assert_eq!(
            names,
            [
                "plan_job",
                "create_job",
                "get_job",
                "list_jobs",
                "wait_for_job",
                "get_events",
                "get_thread",
                "get_diff",
                "review_diff",
                "retry_targets",
                "pause_job",
                "resume_job",
                "cancel_job"
            ]
        );
        for tool in tools {
            assert!(tool.title.is_some() && tool.description.is_some(), "{}", tool.name);
            let hints = tool.annotations.clone().unwrap();
            let all = [
                hints.read_only_hint,
                hints.destructive_hint,
                hints.idempotent_hint,
                hints.open_world_hint,
            ];
            assert!(all.iter().all(Option::is_some), "{} lacks a hint", tool.name);
            let output = tool.output_schema.as_ref().unwrap();
            for schema in [&tool.input_schema, output] {
                is_closed(&Value::Object((**schema).clone()), &tool.name);
            }
            let has = |name: &str| output["properties"].get(name).is_some();
            assert!(has("position") && has("next"), "{}", tool.name);
            // A no is an answer too, and clients judge it by the same schema.
            assert!(has("code") && has("message") && has("retryable"), "{}", tool.name);
            let detail = &tool.input_schema["properties"]["detail"]["enum"];
            assert_eq!(*detail, serde_json::json!(["concise", "full"]), "{}", tool.name);
        }
    }

    /// Whether nothing but what is named may stand in an object; facts and variables name nothing.
    fn is_closed(schema: &Value, tool: &str) {
        if schema.get("properties").is_some() {
            assert_eq!(schema["additionalProperties"], false, "{tool}: {schema}");
        }
        match schema {
            Value::Object(fields) => fields.values().for_each(|value| is_closed(value, tool)),
            Value::Array(items) => items.iter().for_each(|value| is_closed(value, tool)),
            _ => {}
        }
    }

    #[test]
    fn definitions_are_short() {
        let tools: Vec<&Tool> = all(false).collect();
        let bytes = serde_json::to_vec(&tools).unwrap().len();
        // An answer has a little around them.
        assert!(bytes < MOST_BYTES - 110, "{bytes} bytes");
    }

    #[test]
    fn who_only_reads_is_offered_what_reads() {
        let names: Vec<&str> = all(true).map(|tool| &*tool.name).collect();
        assert_eq!(
            names,
            [
                "plan_job",
                "get_job",
                "list_jobs",
                "wait_for_job",
                "get_events",
                "get_thread",
                "get_diff"
            ]
        );
        assert!(find("create_job", true).is_none() && find("create_job", false).is_some());
    }
}
