//! What is wrong with one field of one object, in the words the user will read.

use crate::key::ObjectRef;
use std::fmt;

/// One mistake. `Display` is `<object>: <path>: <reason> [<code>]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// Which object.
    pub object: ObjectRef,
    /// Which field, for example `spec.http[0].fault.delay.fixedDelay`; empty for the whole object.
    pub path: String,
    /// Why, in lower case and without a final stop.
    pub reason: String,
    /// Kind of mistake.
    pub code: Code,
    /// Whether the object is refused.
    pub severity: Severity,
}

/// Whether an object with this mistake is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It is used; something in it has no effect.
    Warning,
    /// It is not used.
    Error,
}

/// Kind of mistake. The `IST` numbers are those of `istioctl analyze`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// A field has a wrong type, form or combination.
    Schema,
    /// A field that no version of the API has.
    UnknownField,
    /// A field of the API that Ambit does not execute.
    Unsupported,
    /// A rule that an earlier one hides.
    Unreachable,
    /// A match that repeats an earlier one or cannot match.
    IneffectiveMatch,
    /// Something named that does not exist.
    ReferenceNotFound,
    /// A ServiceEntry without an address to be captured by.
    AddressesRequired,
    /// A file or document that cannot be read as objects.
    Document,
    /// Two documents define one object.
    Duplicate,
}

impl Code {
    /// The code as printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Schema | Self::UnknownField => "IST0106",
            Self::Unsupported => "AMB0001",
            Self::Unreachable => "IST0130",
            Self::IneffectiveMatch => "IST0131",
            Self::ReferenceNotFound => "IST0101",
            Self::AddressesRequired => "IST0134",
            Self::Document => "AMB0002",
            Self::Duplicate => "AMB0003",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.object)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        write!(f, "{} [{}]", self.reason, self.code)
    }
}

impl std::error::Error for FieldError {}
