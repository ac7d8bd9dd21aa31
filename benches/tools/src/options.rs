//! Command-line options: `-x VALUE`, `--name VALUE`, flags, and one positional argument.

use std::str::FromStr;

/// The arguments that have not been looked at yet.
#[derive(Debug)]
pub struct Options(Vec<String>);

impl Options {
    pub fn from_env() -> Self {
        Self(std::env::args().skip(1).collect())
    }

    /// Whether the flag is given.
    pub fn flag(&mut self, name: &str) -> bool {
        let at = self.0.iter().position(|argument| argument == name);
        at.map(|at| self.0.remove(at)).is_some()
    }

    /// The value of an option that may be given once.
    pub fn value<T: FromStr>(&mut self, name: &str) -> Result<Option<T>, String> {
        let Some(at) = self.0.iter().position(|argument| argument == name) else {
            return Ok(None);
        };
        if at + 1 == self.0.len() {
            return Err(format!("{name} needs a value"));
        }
        let value = self.0.remove(at + 1);
        self.0.remove(at);
        value.parse().map(Some).map_err(|_| format!("{name} cannot be {value:?}"))
    }

    /// What is left: exactly one argument, described by `what`.
    pub fn last(self, what: &str) -> Result<String, String> {
        match <[String; 1]>::try_from(self.0) {
            Ok([last]) if !last.starts_with('-') => Ok(last),
            Ok([unknown]) => Err(format!("unknown option {unknown:?}")),
            Err(rest) => Err(format!("exactly one {what} is needed, not {rest:?}")),
        }
    }

    /// Nothing may be left.
    pub fn finish(self) -> Result<(), String> {
        if self.0.is_empty() { Ok(()) } else { Err(format!("unknown arguments {:?}", self.0)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(text: &str) -> Options {
        Options(text.split_whitespace().map(str::to_owned).collect())
    }

    #[test]
    fn options_are_taken_in_any_order() {
        let mut given = options("-c 8 --json http://h:1/p");
        assert!(given.flag("--json"));
        assert_eq!(given.value::<usize>("-c"), Ok(Some(8)));
        assert_eq!(given.value::<usize>("-n"), Ok(None));
        assert_eq!(given.last("URL"), Ok("http://h:1/p".to_owned()));
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert!(options("-c x").value::<usize>("-c").is_err());
        assert!(options("-c").value::<usize>("-c").is_err());
        assert!(options("").last("URL").is_err());
        assert!(options("--jsno").last("URL").is_err());
        assert!(options("x").finish().is_err());
    }
}
