use super::*;

fn fields(text: &str) -> Cron {
    Cron::parse(text).unwrap_or_else(|| panic!("{text}"))
}

fn days_of(text: &str, year: u32, month: u32) -> Vec<u32> {
    bits(fields(text).days.of(year, month)).collect()
}

#[test]
fn days_of_a_month() {
    // February 2026 begins on a Sunday and ends on a Saturday.
    let february = |text: &str| days_of(text, 2026, 2);
    assert_eq!(february("0 0 L * ? *"), [28]);
    assert_eq!(february("0 0 LW * ? *"), [27]);
    assert_eq!(february("0 0 L-27 * ? *"), [1]);
    assert_eq!(february("0 0 L-28 * ? *"), [0; 0]);
    assert_eq!(february("0 0 1W * ? *"), [2]);
    assert_eq!(february("0 0 28W * ? *"), [27]);
    assert_eq!(february("0 0 29W * ? *"), [0; 0]);
    assert_eq!(february("0 0 27-31 * ? *"), [27, 28]);
    assert_eq!(february("0 0 ? * SUN *"), [1, 8, 15, 22]);
    assert_eq!(february("0 0 ? * 7L *"), [28]);
    assert_eq!(february("0 0 ? * SUN#4 *"), [22]);
    assert_eq!(february("0 0 ? * SUN#5 *"), [0; 0]);
    // May 2027 begins on a Saturday, and 31 is a Monday.
    assert_eq!(days_of("0 0 1W * ? *", 2027, 5), [3]);
    assert_eq!(days_of("0 0 30W * ? *", 2027, 5), [31]);
    assert_eq!(days_of("0 0 ? * SAT#5 *", 2027, 5), [29]);
    // A month that ends on a Sunday: the nearest workday is before it, not in the next month.
    assert_eq!(days_of("0 0 31W * ? *", 2027, 1), [29]);
    assert_eq!(days_of("0 0 * * ? *", 2028, 2).len(), 29);
}

#[test]
fn names_and_numbers_are_the_same() {
    assert_eq!(fields("0 0 ? JAN-MAR MON-FRI *"), fields("0 0 ? 1-3 2-6 *"));
    assert_eq!(fields("*/15 0 1 * ? *"), fields("0,15,30,45 0 1 1-12 ? 1970-2199"));
    assert_eq!(fields("5/20 0 1 * ? *"), fields("5,25,45 0 1 * ? *"));
}

#[test]
fn a_second_within_a_minute_counts_to_the_next() {
    let every = fields("* * * * ? *");
    assert_eq!(every.first_from(60), Some(60));
    assert_eq!(every.first_from(61), Some(120));
    assert_eq!(every.first_from(-86_400), Some(0));
    let last = days(2199, 12, 31) * 86_400 + 86_340;
    assert_eq!((every.first_from(last), every.first_from(last + 1)), (Some(last), None));
}
