//! Values that GraphQL has no words of its own for.

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

    fn to_value(&self) -> Value {
        Value::String(self.0.to_string())
    }
}

/// A whole number from 0 to 9007199254740991, the largest that every JSON reader keeps: bytes, tokens,
/// milliseconds, and money in millionths of a US dollar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Long(pub u64);

/// The largest whole number that a double has, with all below it.
const MOST: u64 = (1 << 53) - 1;

/// A whole number from 0 to 9007199254740991, the largest that every JSON reader keeps: bytes, tokens,
/// milliseconds, and money in millionths of a US dollar.
#[Scalar(name = "Long")]
impl ScalarType for Long {
    fn parse(value: Value) -> InputValueResult<Self> {
        match &value {
            Value::Number(number) => match number.as_u64().filter(|number| *number <= MOST) {
                Some(number) => Ok(Self(number)),
                None => Err(InputValueError::custom("a whole number from 0 to 9007199254740991")),
            },
            _ => Err(InputValueError::expected_type(value)),
        }
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

    fn to_value(&self) -> Value {
        Value::String(self.0.to_string())
    }
}
