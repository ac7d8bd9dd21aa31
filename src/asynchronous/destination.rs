//! Where the outcome of an event goes.
//!
//! AWS's destinations are ARNs. Functions are destinations here as there. Two services are this
//! one's own, `file` (the directory of dead letters) and `http` (the webhook of the configuration),
//! in ARNs that AWS's model lets through. There is no SQS, SNS, EventBridge or S3 here: failed
//! events that are meant for them become dead letters that say so, and successful ones are refused
//! when they are configured.

use super::state::{Condition, Policy};
use super::stored::Address;
use crate::function::name::{self, Place};

/// The directory of dead letters as a destination.
pub const LETTERS_ARN: &str = "arn:aws:file:::dead-letters";
/// The webhook of the configuration as a destination.
pub const WEBHOOK_ARN: &str = "arn:aws:http:::webhook";

/// What brings a record to where no function is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Carrier {
    Letters,
    Webhook,
}

/// What an ARN means here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    Function(Address),
    Carried(Carrier),
    /// A service that is not here.
    Elsewhere,
}

impl Destination {
    pub fn of(arn: &str, account_id: &str) -> Destination {
        if arn == LETTERS_ARN {
            return Destination::Carried(Carrier::Letters);
        }
        if arn == WEBHOOK_ARN {
            return Destination::Carried(Carrier::Webhook);
        }
        let mut parts = arn.split(':').skip(2);
        let (service, region) = (parts.next(), parts.next().unwrap_or_default());
        if service != Some("lambda") {
            return Destination::Elsewhere;
        }
        match name::parse(arn, None, Place { region, account_id }) {
            Ok(found) => Destination::Function(Address {
                region: region.to_owned(),
                name: found.name,
                qualifier: found.qualifier.map(|qualifier| qualifier.to_string()),
                created: true,
            }),
            Err(_) => Destination::Elsewhere,
        }
    }
}

/// What becomes of a failed event that has no destination: `[asynchronous] dead_letters`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeadLetters {
    Kept(Carrier),
    /// As on AWS.
    Discarded,
}

/// Where records go by default, and what there is.
#[derive(Debug, Clone)]
pub(super) struct Routes {
    pub(super) account_id: String,
    pub(super) dead_letters: DeadLetters,
    pub(super) has_webhook: bool,
}

/// One way of a record, and the ARN that asked for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    Function(Address),
    Carried(Carrier, String),
}

impl Routes {
    /// Where the record of an event that ended so goes. A failed one may have several; those that
    /// are the same here are one.
    pub(super) fn after(&self, policy: &Policy, condition: Condition) -> Vec<Route> {
        let arns = match condition {
            Condition::Success => [&policy.on_success, &None, &None],
            _ => [&policy.on_failure, &policy.dead_letter, &policy.own_dead_letter],
        };
        let mut routes: Vec<Route> = Vec::new();
        for arn in arns.into_iter().flatten() {
            let route = self.to(arn);
            let known = |one: &Route| match (one, &route) {
                (Route::Carried(one, _), Route::Carried(other, _)) => one == other,
                (one, other) => one == other,
            };
            if !routes.iter().any(known) {
                routes.push(route);
            }
        }
        if routes.is_empty()
            && condition != Condition::Success
            && let DeadLetters::Kept(carrier) = self.dead_letters
        {
            routes.push(Route::Carried(self.present(carrier), String::new()));
        }
        routes
    }

    fn to(&self, arn: &str) -> Route {
        match Destination::of(arn, &self.account_id) {
            Destination::Function(address) => Route::Function(address),
            Destination::Carried(carrier) => Route::Carried(self.present(carrier), arn.to_owned()),
            Destination::Elsewhere => Route::Carried(Carrier::Letters, arn.to_owned()),
        }
    }

    /// A webhook that is not configured any more loses nothing.
    fn present(&self, carrier: Carrier) -> Carrier {
        if self.has_webhook { carrier } else { Carrier::Letters }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNT: &str = "000000000000";
    const SQS: &str = "arn:aws:sqs:us-east-1:000000000000:q";

    fn routes(dead_letters: DeadLetters, has_webhook: bool) -> Routes {
        Routes { account_id: ACCOUNT.to_owned(), dead_letters, has_webhook }
    }

    fn failing_to(on_failure: &str, dead_letter: &str) -> Policy {
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let (on_failure, dead_letter) = (some(on_failure), some(dead_letter));
        Policy { on_failure, dead_letter, ..Policy::default() }
    }

    #[test]
    fn an_arn_is_a_function_one_of_ours_or_elsewhere() {
        let of = |arn: &str| Destination::of(arn, ACCOUNT);
        let function = "arn:aws:lambda:eu-west-1:000000000000:function:f:live";
        let Destination::Function(found) = of(function) else { panic!("{:?}", of(function)) };
        assert_eq!((found.region.as_str(), found.name.as_str()), ("eu-west-1", "f"));
        assert_eq!(found.qualifier.as_deref(), Some("live"));
        assert_eq!(of(LETTERS_ARN), Destination::Carried(Carrier::Letters));
        assert_eq!(of(WEBHOOK_ARN), Destination::Carried(Carrier::Webhook));
        for other in [
            SQS,
            "arn:aws:lambda:eu-west-1:111111111111:function:f",
            "arn:aws:lambda:::x:y:z",
            "arn:aws:file:::other",
            "kafka://topic",
            "",
        ] {
            assert_eq!(of(other), Destination::Elsewhere, "{other}");
        }
    }

    #[test]
    fn a_failure_has_its_destinations_and_else_the_default() {
        let kept = routes(DeadLetters::Kept(Carrier::Letters), true);
        let after = |policy: &Policy| kept.after(policy, Condition::RetriesExhausted);
        let letters = |asked: &str| Route::Carried(Carrier::Letters, asked.to_owned());
        let webhook = Route::Carried(Carrier::Webhook, WEBHOOK_ARN.to_owned());
        assert_eq!(after(&failing_to("", "")), [letters("")]);
        assert_eq!(after(&failing_to(SQS, "")), [letters(SQS)]);
        assert_eq!(after(&failing_to(SQS, LETTERS_ARN)), [letters(SQS)], "one file is enough");
        assert_eq!(after(&failing_to(WEBHOOK_ARN, SQS)), [webhook, letters(SQS)]);
        assert_eq!(kept.after(&failing_to(SQS, SQS), Condition::Success), []);
        let none = routes(DeadLetters::Discarded, false);
        assert_eq!(none.after(&failing_to("", ""), Condition::EventAgeExceeded), []);
        let gone = none.after(&failing_to(WEBHOOK_ARN, ""), Condition::EventAgeExceeded);
        assert_eq!(gone, [letters(WEBHOOK_ARN)]);
    }

    #[test]
    fn a_success_goes_where_it_was_asked_to() {
        let routes = routes(DeadLetters::Kept(Carrier::Webhook), true);
        let after = |to: Option<&str>| {
            let on_success = to.map(str::to_owned);
            routes.after(&Policy { on_success, ..Policy::default() }, Condition::Success)
        };
        assert_eq!(after(None), []);
        let function = after(Some("arn:aws:lambda:us-east-1:000000000000:function:g"));
        assert!(matches!(&function[..], [Route::Function(to)] if to.name == "g"), "{function:?}");
        let letters = Route::Carried(Carrier::Letters, LETTERS_ARN.to_owned());
        assert_eq!(after(Some(LETTERS_ARN)), [letters]);
    }
}
