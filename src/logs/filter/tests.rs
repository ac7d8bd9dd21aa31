//! Patterns against messages, a table for each language, and what no pattern may do.

use super::*;

/// Each pattern with messages that it matches and messages that it does not.
fn check(table: &[(&str, &[&str], &[&str])]) {
    for (pattern, wanted, unwanted) in table {
        let filter = Filter::parse(pattern).unwrap_or_else(|e| panic!("{pattern}: {e}"));
        for message in *wanted {
            assert!(filter.matches(message), "{pattern} does not match {message}");
        }
        for message in *unwanted {
            assert!(!filter.matches(message), "{pattern} matches {message}");
        }
    }
}

fn refused(pattern: &str) -> String {
    match Filter::parse(pattern) {
        Err(error) => error.to_string(),
        Ok(filter) => panic!("{pattern} was taken: {filter:?}"),
    }
}

#[test]
fn words() {
    let bad = "[ERROR 400] BAD REQUEST";
    let missing = "[ERROR 419] MISSING ARGUMENTS";
    let warning = "[WARN] UNAUTHORIZED REQUEST";
    check(&[
        ("", &["", "x"], &[]),
        ("  ", &["x"], &[]),
        ("\" \"", &["", "x"], &[]),
        ("ERROR", &[bad, missing, "ERRORCODE: -1"], &["error", warning, ""]),
        ("ERROR ARGUMENTS", &[missing], &[bad]),
        ("ARGUMENTS   ERROR", &[missing], &[bad]),
        ("\"BAD REQUEST\"", &[bad], &["BAD  REQUEST", warning]),
        ("\"[ERROR 4\" REQUEST", &[bad], &[missing]),
        (r#""say \"x\" \\""#, &[r#"they say "x" \ "#], &["say x"]),
        ("ERROR -ARGUMENTS", &[bad], &[missing, warning]),
        ("ERROR - \"BAD REQUEST\"", &[missing], &[bad]),
        ("-ERROR", &[warning, ""], &[bad]),
        ("?ERROR ?WARN", &[bad, warning], &["INFO"]),
        ("?\"BAD REQUEST\" ?MISSING", &[bad, missing], &[warning]),
        // As CloudWatch documents it.
        ("?ERROR ?ARGUMENTS REQUEST", &["[INFO] REQUEST FAILED", bad], &[missing]),
        // A minus is never part of a word.
        ("request-id", &["request 7"], &["request-id 7"]),
        ("a_b 4.2", &["a_b=4.2"], &["a_b 42"]),
        ("Größe", &["die Größe"], &["Grosse"]),
    ]);
}

#[test]
fn regular_expressions() {
    check(&[
        ("%AUTHORIZED%", &["UNAUTHORIZED REQUEST", "AUTHORIZED"], &["authorized"]),
        ("%^[hc]at%", &["hat", "cat x"], &["a hat", "bat"]),
        ("%[hc]at$%", &["hat", "a cat"], &["cats", ""]),
        ("%^$%", &[""], &["x"]),
        ("%colou?r%", &["color", "colour"], &["colouur"]),
        ("%[abcx-z]%", &["y"], &["w"]),
        ("%^a{3,5}$%", &["aaa", "aaaaa"], &["aa", "aaaaaa", "aaab"]),
        ("%^a{2}b{,1}c{1,}$%", &["aac", "aabcc"], &["ac", "aabbc", "aab"]),
        ("%gra|ey%", &["gray", "grey"], &["gry"]),
        (
            "%^starting|^initializing|^shutting down%",
            &["starting x", "shutting down"],
            &["not starting"],
        ),
        (r"%\[.\]%", &["[a]", "x[ ]"], &["[]", "a"]),
        (r"%10\.10\.0\.1%", &["from 10.10.0.1"], &["10010,051"]),
        ("%ab*c%", &["ac", "abbbc"], &["adc"]),
        ("%ab+c%", &["abc", "abbc"], &["ac"]),
        ("%^.at$%", &["hat", "éat"], &["at", "heat"]),
        (r"%^\d+\D\s\S\w\W$%", &["12x yz-", "1-\t-_ "], &["x1 yz-"]),
        (r"%^\x28\x3A$%", &["(:"], &["x28"]),
        ("%[^a-c]x%", &["dx"], &["ax", "x"]),
        (r"%[a\-c]%", &["-"], &["b"]),
        ("%[a-]%", &["-"], &["b"]),
        (r"%^[\d_]+$%", &["1_2"], &["a"]),
        ("%timeout% -%retry[0-9]%", &["timeout"], &["timeout retry7", "x"]),
    ]);
    assert_eq!(refused("%something!%"), "Invalid character(s) in term '!'");
    assert_eq!(refused("%a(b)%"), "Invalid character(s) in term '('");
    for pattern in [
        "%a",
        "%%",
        "%a|%",
        "%[a%",
        "%[]%",
        "%[b-a]%",
        "%a**%",
        "%a{2,1}%",
        "%a{x}%",
        "%a{257}%",
        "%a{1%",
        "%a{99999999999999999999}%",
        r"%\q%",
        r"%\x4%",
        r"%\xff%",
        "%é%",
        "%*a%",
    ] {
        refused(pattern);
    }
}

const EVENT: &str = r#"{"eventType":"UpdateTrail","sourceIPAddress":"111.111.111.111","code":404,
    "latency":0.5,"arrayKey":["value","another value"],"objectList":[{"name":"a","id":1},
    {"name":"b","id":2}],"SomeObject":null,"cluster.name":"c","flag":true,"off":false,
    "detail-type":"x","text":"404","large":1e3,"negative":-5,
    "users":[1,2,3],"nested":{"a":{"b":"deep"}},"coordinates":[[0,1,2],[4,5,6]]}"#;

#[test]
fn json() {
    let matching = [
        r#"{ $.eventType = "UpdateTrail" }"#,
        "{$.eventType=UpdateTrail}",
        r#"{ $.eventType = "Update*" }"#,
        r#"{ $.eventType = "*Trail" }"#,
        r#"{ $.eventType = "*pdate*ai*" }"#,
        r#"{ $.eventType = "*" }"#,
        "{ $.sourceIPAddress != 123.123.* }",
        "{ $.sourceIPAddress = 111.* }",
        r#"{ $.arrayKey[0] = "value" }"#,
        r#"{ $.arrayKey[*] = "another value" }"#,
        "{ $.objectList[1].id = 2 }",
        "{ $.objectList[*].name = b }",
        r#"{ $.['cluster.name'] = "c" }"#,
        r#"{ $['cluster.name'] = "c" }"#,
        r#"{ $.["cluster.name"] = "c" }"#,
        "{ $.SomeObject IS NULL }",
        "{ $.flag IS TRUE }",
        "{ $.off is false }",
        "{ $.flag = true }",
        "{ $.other NOT EXISTS }",
        "{ $.nested.a.c NOT EXISTS }",
        "{ $.SomeObject EXISTS }",
        "{ $.nested.a.b = deep }",
        "{ $.coordinates[1][2] = 6 }",
        "{ $.detail-type = x }",
        "{ $.code = 404 }",
        "{ $.code = 4.04e2 }",
        "{ $.code = 4* }",
        r#"{ $.code = "404" }"#,
        "{ $.text = 404 }",
        "{ $.code != 500 }",
        "{ $.code >= 404 && $.code <= 404 }",
        "{ $.code > +403.9 }",
        "{ $.latency < 1 }",
        "{ $.large = 1000 }",
        "{ $.negative < -4.5 }",
        "{ $.eventType = %Trail% }",
        "{ $.arrayKey[*] = %val.{2}% }",
        r"{ $.* = %111\.111\.111\.1[0-9]{1,2}% }",
        "{ ($.code = 1) || ($.code = 404) }",
        // The closer binding of `&&`.
        "{ $.code = 404 || $.code = 1 && $.code = 2 }",
        "{ ((($.code = 404))) && ( $.flag IS TRUE||$.code=1 ) }",
    ];
    for pattern in matching {
        check(&[(pattern, &[EVENT], &["no json", "", "[]", "7", "{\"eventType\":"])]);
    }
    let others = [
        "{ $.eventType = updateTrail }",
        r#"{ $.eventType = "Trail" }"#,
        r#"{ $.eventType = "Update*x" }"#,
        "{ $.eventType != UpdateTrail }",
        "{ $.arrayKey[2] = value }",
        "{ $.eventType[0] = U }",
        // An array or object meets nothing, nor does what is not there.
        "{ $.users = 1 }",
        "{ $.users != 1 }",
        "{ $.nested != 1 }",
        "{ $.other != 1 }",
        "{ $.SomeObject = null }",
        "{ $.other IS NULL }",
        "{ $.code IS NULL }",
        "{ $.off IS TRUE }",
        "{ $.other EXISTS }",
        "{ $.code NOT EXISTS }",
        "{ $.code < 404 }",
        "{ $.text > 1 }",
        "{ $.eventType > 1 }",
        "{ ($.code = 404 || $.code = 1) && $.code = 2 }",
        "{ $.code = 404 && $.flag IS FALSE }",
    ];
    for pattern in others {
        check(&[(pattern, &[], &[EVENT, "no json"])]);
    }
}

#[test]
fn what_is_no_json_pattern_is_refused() {
    for pattern in [
        "{}",
        "{ }",
        "{ $ = 1 }",
        "{ $.a }",
        "{ $.a = }",
        "{ $.a == 1 }",
        "{ $.a > b }",
        "{ $.a > \"1\" }",
        "{ $.a IS NOT NULL }",
        "{ $.a IS NULLABLE }",
        "{ $.a = 1 && }",
        "{ && $.a = 1 }",
        "{ ($.a = 1 }",
        "{ $.a = 1) }",
        "{ $.a = 1 $.b = 2 }",
        "{ $.a[ = 1 }",
        "{ $.a[x] = 1 }",
        "{ $.a[-1] = 1 }",
        "{ $.a[99999999999999999999] = 1 }",
        "{ $.['a = 1 }",
        "{ $..a = 1 }",
        "{ $.*.* = 1 }",
        "{ $.a[*] = 1 || $.b[*] = 1 || $.c[*] = 1 || $.d[*] = 1 }",
        "{ $.a = \"x }",
        "{ $.a = %x }",
        "{ a = 1 }",
    ] {
        refused(pattern);
    }
    assert_eq!(refused("{ $.a = 1"), "If a filter pattern starts with '{' it must end with '}'");
    assert_eq!(refused("{ $.a = x,y }"), "Invalid character(s) in term ','");
    assert_eq!(refused("{ $.a = 1, }"), "Invalid character(s) in term ','");
}

#[test]
fn columns() {
    let get =
        r#"127.0.0.1 Prod frank [10/Oct/2000:13:25:15 -0700] "GET /index.html HTTP/1.0" 404 1534"#;
    let gif =
        r#"127.0.0.1 - frank [10/Oct/2000:13:35:22 -0700] "GET /apache.gif HTTP/1.0" 500 5324"#;
    let info = "INFO 09/25/2014 12:00:00 GET /service/resource/67 1200";
    let part = "INFO 09/25/2014 12:00:01 POST /service/resource/67/part/111 1310";
    let warning = "WARNING 09/25/2014 12:00:02 Invalid user request";
    let error = "ERROR 09/25/2014 12:00:02 Failed to process request";
    let all = "[ip, user, username, timestamp, request, status_code";
    check(&[
        (
            "[ip, user, username, timestamp, request, status_code, bytes]",
            &[get, gif],
            &[info, "x", ""],
        ),
        ("[..., status_code = 4*, bytes]", &[get], &[gif, "404"]),
        ("[..., request =*.html*, status_code = 4*, bytes]", &[get], &[gif]),
        ("[ip, user, ..., bytes > 2000]", &[gif], &[get, "1 9999"]),
        ("[ip=127.*, ...]", &[get, gif], &[info]),
        (r"[ip=%127\.0\.0\.[1-9]%, ..., status_code, bytes]", &[get], &["10.0.0.1 a b"]),
        ("[w1=ERROR, w2]", &[error], &[warning, "ERROR"]),
        ("[w1=ERROR || w1=WARNING, w2]", &[error, warning], &[info]),
        ("[w1!=ERROR && w1!=WARNING, w2]", &[info, part], &[error, warning]),
        ("[w1 = \"ERROR\", w2 != \"*user*\"]", &[error], &[warning]),
        (
            "[logLevel, date, time, method, url=%/service/resource/[0-9]+$%, response_time]",
            &[info],
            &[part],
        ),
        ("[a, b, c, user = frank, ...]", &[], &[get]),
        ("[,, user = frank,...]", &[get, gif], &[info]),
        ("[...]", &["", "x", get], &[]),
        ("[level]", &["x", "x y"], &[""]),
        ("[a, b = \"x y\"]", &["1 x y", "1 [x y]", "1 \"x y\""], &["1 x"]),
        // What is never closed is a word.
        ("[a = \"[x\", b = y]", &["[x y"], &["[x y]"]),
        ("[a <= 5 && (a >= 4 || a = 1), ...]", &["5", "4 x", "1"], &["3", "6", "x"]),
    ]);
    assert!(Filter::parse(&format!("{all} = 4* && status_code != 404, bytes]")).is_ok());
    for pattern in ["[a, ..., b, ...]", "[a > ]", "[a = \"x]", "[a b]", "[a = b c]", "[a = 1 &&]"] {
        refused(pattern);
    }
    assert_eq!(refused("[a"), "If a filter pattern starts with '[' it must end with ']'");
}

#[test]
fn what_is_no_word_is_told_as_cloudwatch_does() {
    for (pattern, term) in [
        ("?Status: timeout", ":"),
        ("a,b", ","),
        ("x (y)", "("),
        ("a `", "`"),
        ("\"\"", "\"\""),
        ("x* y", "*"),
        (r"a\b", r"\"),
    ] {
        assert_eq!(refused(pattern), format!("Invalid character(s) in term '{term}'"));
    }
    for pattern in ["-", "?", "a -", "\"open", "--a"] {
        assert_eq!(refused(pattern), "Invalid filter pattern", "{pattern}");
    }
}

/// Numbers that look random and are the same in every run (xorshift).
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end as u64).unwrap()
    }
}

#[test]
fn no_pattern_panics() {
    let tokens = [
        "{", "}", "[", "]", "(", ")", "$", ".", "$.a", "*", "\"", "\\", "%", "=", "!=", "<=", ">",
        "&&", "||", "IS", "NULL", "NOT", "EXISTS", "...", ",", "-", "?", " ", "é", "a", "7", "1e9",
        "{1,3}", "^", "+", "|", "'", "\u{0}", "𝄞", "x{200}", "[^", "a-z]",
    ];
    let messages =
        [EVENT, "", "a é 7", "[a \"b\" ] 𝄞", "{\"a\":[7,\"a\",null]}", "\"", "[", "\u{0}"];
    let mut seeded = Seeded(0x9e37_79b9_7f4a_7c15);
    let mut taken = 0;
    for _ in 0..60_000 {
        let mut pattern = String::new();
        for _ in 0..seeded.below(14) {
            pattern.push_str(tokens[seeded.below(tokens.len())]);
        }
        // Half of them with the right ends, so that the inner parsers see something.
        let pattern = match seeded.below(4) {
            0 => format!("{{ $.a{pattern}}}"),
            1 => format!("[{pattern}]"),
            _ => pattern,
        };
        if let Ok(filter) = Filter::parse(&pattern) {
            taken += 1;
            for message in messages {
                filter.matches(message);
            }
        }
    }
    assert!(taken > 1000, "{taken}");
}

#[test]
fn deep_and_long_patterns_are_refused_or_bounded() {
    let deep = |depth: usize| format!("{{ {}$.a = 1{} }}", "(".repeat(depth), ")".repeat(depth));
    assert!(Filter::parse(&deep(32)).unwrap().matches("{\"a\":1}"));
    refused(&deep(33));
    refused(&deep(100_000));
    let members = format!("{{ ${} = 1 }}", ".a".repeat(500));
    assert!(!Filter::parse(&members).unwrap().matches(EVENT));
    // A message nested too deep is no JSON for us.
    let nested = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(!Filter::parse("{ $.a = 1 }").unwrap().matches(&nested));
}

/// The worst that we know for each language, against a message of the largest size: with more than
/// a pass for each part of the pattern this would not end.
#[test]
fn the_largest_message_takes_bounded_time() {
    let size = 1 << 20;
    let cases = [
        ("%a.{0,250}b%".to_owned(), "a".repeat(size / 64)),
        ("%[ab]*[ab]*[ab]*[ab]*c%".to_owned(), "ab".repeat(size / 8)),
        (format!("\"{}b\"", "a".repeat(500)), "a".repeat(size)),
        (
            format!("{{ $.a = \"{}b\" }}", "a*".repeat(400)),
            format!("{{\"a\":\"{}\"}}", "a".repeat(size)),
        ),
        ("{ $.a[*] = \"*b*\" }".to_owned(), format!("{{\"a\":[{}1]}}", "\"aa\",".repeat(size / 5))),
        ("[a, ..., b = 7]".to_owned(), "[ ".repeat(size / 2)),
        ("[a, ..., b = 7]".to_owned(), "\" ".repeat(size / 2)),
        ("[a, b = \"*x*y*z\"]".to_owned(), "x ".repeat(size / 2)),
    ];
    for (pattern, message) in cases {
        let filter = Filter::parse(&pattern).unwrap();
        assert!(!filter.matches(&message), "{pattern}");
    }
}
