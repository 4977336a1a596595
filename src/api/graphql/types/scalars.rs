//! Values that GraphQL has no words of its own for. One that is none is told before anything is executed,
//! as GraphQL has it for its own: that is what `is_valid` is for.

use async_graphql::{InputValueError, InputValueResult, Scalar, ScalarType, Value};
use cody_events::time::{Day, Timestamp};

/// An instant in UTC, as RFC 3339 writes it: `2026-11-23T10:00:00.000000Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DateTime(pub Timestamp);

/// An instant in UTC, as RFC 3339 writes it: `2026-11-23T10:00:00.000000Z`.
#[Scalar(name = "DateTime", specified_by_url = "https://scalars.graphql.org/andimarek/date-time")]
impl ScalarType for DateTime {
    fn parse(value: Value) -> InputValueResult<Self> {
        match &value {
            Value::String(text) => text.parse().map(Self).map_err(InputValueError::custom),
            _ => Err(InputValueError::expected_type(value)),
        }
    }

    fn is_valid(value: &Value) -> bool {
        Self::parse(value.clone()).is_ok()
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_string())
    }
}

/// A day in UTC: `2026-11-23`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Date(pub Day);

/// A day in UTC: `2026-11-23`.
#[Scalar(name = "Date", specified_by_url = "https://scalars.graphql.org/andimarek/local-date")]
impl ScalarType for Date {
    fn parse(value: Value) -> InputValueResult<Self> {
        match &value {
            Value::String(text) => text.parse().map(Self).map_err(InputValueError::custom),
            _ => Err(InputValueError::expected_type(value)),
        }
    }

    fn is_valid(value: &Value) -> bool {
        Self::parse(value.clone()).is_ok()
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_string())
    }
}

/// A whole number of 64 bits: bytes, tokens, milliseconds, and money in millionths of a US dollar. What
/// this server says is from 0 to 9007199254740991, which every JSON reader keeps; of what it is told, less
/// counts as 0, and more is too much for any limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Long(pub u64);

/// The largest whole number that a double has, with all below it.
const MOST: u64 = (1 << 53) - 1;

/// A whole number of 64 bits: bytes, tokens, milliseconds, and money in millionths of a US dollar. What
/// this server says is from 0 to 9007199254740991, which every JSON reader keeps; of what it is told, less
/// counts as 0, and more is too much for any limit.
#[Scalar(name = "Long")]
impl ScalarType for Long {
    fn parse(value: Value) -> InputValueResult<Self> {
        match &value {
            // That there can be no such limit is for the rules to say, as data.
            Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(number), _) => Ok(Self(number)),
                (None, Some(_)) => Ok(Self(0)),
                (None, None) => Err(InputValueError::custom("a whole number of 64 bits")),
            },
            _ => Err(InputValueError::expected_type(value)),
        }
    }

    fn is_valid(value: &Value) -> bool {
        Self::parse(value.clone()).is_ok()
    }

    fn to_value(&self) -> Value {
        Value::Number(self.0.min(MOST).into())
    }
}

/// A place in the log, as digits in a string. Larger is later. A mutation answers with the position that
/// holds what it did; a read that is given it waits until it can show that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position(pub u64);

/// A place in the log, as digits in a string. Larger is later. A mutation answers with the position that
/// holds what it did; a read that is given it waits until it can show that.
#[Scalar(name = "Position")]
impl ScalarType for Position {
    fn parse(value: Value) -> InputValueResult<Self> {
        let text = match &value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => return Err(InputValueError::expected_type(value)),
        };
        let is_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(position) if is_digits => Ok(Self(position)),
            _ => Err(InputValueError::custom("a position is a string of digits")),
        }
    }

    fn is_valid(value: &Value) -> bool {
        Self::parse(value.clone()).is_ok()
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_string())
    }
}
