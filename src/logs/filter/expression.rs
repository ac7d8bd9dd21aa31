//! Conditions joined by `&&`, `||` and parentheses; `&&` binds closer. What a condition is, its
//! reader says.

use super::BadPattern;

/// Parentheses in parentheses.
const DEPTH: usize = 32;

#[derive(Debug)]
pub(super) enum Expression<C> {
    Is(C),
    All(Vec<Expression<C>>),
    Any(Vec<Expression<C>>),
}

/// Reads a condition at the start of a text, and gives what comes after it.
type ReadCondition<'r, C> = &'r dyn for<'a> Fn(&'a str) -> Result<(C, &'a str), BadPattern>;

impl<C> Expression<C> {
    /// Parses the whole text.
    pub(super) fn parse(text: &str, read: ReadCondition<'_, C>) -> Result<Self, BadPattern> {
        match Self::any(text, read, 0)? {
            (expression, "") => Ok(expression),
            _ => Err(BadPattern::invalid()),
        }
    }

    pub(super) fn holds(&self, condition: &dyn Fn(&C) -> bool) -> bool {
        match self {
            Expression::Is(one) => condition(one),
            Expression::All(all) => all.iter().all(|one| one.holds(condition)),
            Expression::Any(any) => any.iter().any(|one| one.holds(condition)),
        }
    }

    /// Every condition, from left to right.
    pub(super) fn each(&self, visit: &mut dyn FnMut(&C)) {
        match self {
            Expression::Is(one) => visit(one),
            Expression::All(all) | Expression::Any(all) => {
                all.iter().for_each(|one| one.each(visit));
            }
        }
    }

    fn any<'a>(
        text: &'a str,
        read: ReadCondition<'_, C>,
        depth: usize,
    ) -> Result<(Self, &'a str), BadPattern> {
        let (first, mut rest) = Self::all(text, read, depth)?;
        let mut any = vec![first];
        while let Some(more) = rest.strip_prefix("||") {
            let (next, after) = Self::all(more, read, depth)?;
            any.push(next);
            rest = after;
        }
        Ok((Expression::Any(any), rest))
    }

    fn all<'a>(
        text: &'a str,
        read: ReadCondition<'_, C>,
        depth: usize,
    ) -> Result<(Self, &'a str), BadPattern> {
        let (first, mut rest) = Self::one(text, read, depth)?;
        let mut all = vec![first];
        while let Some(more) = rest.strip_prefix("&&") {
            let (next, after) = Self::one(more, read, depth)?;
            all.push(next);
            rest = after;
        }
        Ok((Expression::All(all), rest))
    }

    fn one<'a>(
        text: &'a str,
        read: ReadCondition<'_, C>,
        depth: usize,
    ) -> Result<(Self, &'a str), BadPattern> {
        let text = text.trim_start();
        let (one, rest) = match text.strip_prefix('(') {
            Some(_) if depth == DEPTH => return Err(BadPattern::invalid()),
            Some(inner) => {
                let (inside, rest) = Self::any(inner, read, depth + 1)?;
                (inside, rest.strip_prefix(')').ok_or_else(BadPattern::invalid)?)
            }
            None => {
                let (condition, rest) = read(text)?;
                (Expression::Is(condition), rest)
            }
        };
        Ok((one, rest.trim_start()))
    }
}
