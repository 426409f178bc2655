//! Every encoding by hand, damage to each, and what is written against what is read. Values of real servers are in tests/rdb/values.rs.

use std::io::Cursor;

use super::super::{Payload, PayloadError, Reader, WRITTEN_VERSION, Writer, seal_payload};
use super::*;
use crate::base::random::Random;

/// The value of a payload with this encoding, or what is wrong with it.
fn read_as(version: u16, code: u8, value: &[u8]) -> Result<Value, String> {
    let payload = seal_payload(Body { bytes: [&[code], value].concat(), version });
    let payload = Payload::open(&payload).map_err(|error| format!("{error:?}"))?;
    let mut collector = Collector::new(payload.kind());
    match payload.give(&mut collector) {
        Ok(()) => Ok(collector.into_value().sorted()),
        Err(PayloadError::Format(None)) => Err("empty".to_owned()),
        Err(PayloadError::Format(Some(error))) => Err(error.to_string()),
        Err(other) => Err(format!("{other:?}")),
    }
}

fn read(code: u8, value: &[u8]) -> Result<Value, String> {
    read_as(12, code, value)
}

/// A string as it stands in a file, in the form with a length of 32 bits.
fn string(bytes: &[u8]) -> Vec<u8> {
    [&[0x80][..], &(bytes.len() as u32).to_be_bytes(), bytes].concat()
}

fn strings(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn list(texts: &[&str]) -> Result<Value, String> {
    Ok(Value::List(strings(texts)))
}

fn set(texts: &[&str]) -> Result<Value, String> {
    Ok(Value::Set(strings(texts)).sorted())
}

fn sorted_set(members: &[(&str, f64)]) -> Result<Value, String> {
    let members = members.iter().map(|(member, score)| (member.as_bytes().to_vec(), *score));
    Ok(Value::SortedSet(members.collect()).sorted())
}

fn hash(fields: &[(&str, &str, Option<i64>)]) -> Result<Value, String> {
    let fields = fields.iter().map(|(name, value, due_ms)| Field {
        name: name.as_bytes().to_vec(),
        value: value.as_bytes().to_vec(),
        due_ms: *due_ms,
    });
    Ok(Value::Hash(fields.collect()).sorted())
}

#[track_caller]
fn assert_refused(outcome: Result<Value, String>, what: &str) {
    match outcome {
        Err(text) => assert!(text.ends_with(what), "{text}"),
        Ok(value) => panic!("{what}: read as {value:?}"),
    }
}

/// A ziplist of elements that are given with their heads.
fn ziplist(elements: &[Vec<u8>]) -> Vec<u8> {
    let (mut body, mut before, mut tail) = (Vec::new(), 0, 10);
    for element in elements {
        tail = 10 + body.len();
        match before {
            0..254 => body.push(before as u8),
            _ => body.extend_from_slice(&[&[254][..], &(before as u32).to_le_bytes()].concat()),
        }
        body.extend_from_slice(element);
        before = 10 + body.len() - tail;
    }
    let total = (11 + body.len()) as u32;
    let count = elements.len() as u16;
    [&total.to_le_bytes()[..], &(tail as u32).to_le_bytes(), &count.to_le_bytes(), &body, &[0xff]].concat()
}

/// A ziplist of short strings.
fn ziplist_of(texts: &[&str]) -> Vec<u8> {
    let elements: Vec<Vec<u8>> =
        texts.iter().map(|text| [&[text.len() as u8], text.as_bytes()].concat()).collect();
    ziplist(&elements)
}

/// A listpack of elements that are given with heads and sizes behind.
fn listpack(elements: &[&[u8]]) -> Vec<u8> {
    let body = elements.concat();
    let (total, count) = ((7 + body.len()) as u32, elements.len() as u16);
    [&total.to_le_bytes()[..], &count.to_le_bytes(), &body, &[0xff]].concat()
}

/// A listpack as the writer makes it.
fn listpack_of(texts: &[&str]) -> Vec<u8> {
    let mut writer = listpack::Writer::new();
    texts.iter().for_each(|text| writer.text(text.as_bytes()));
    writer.finish()
}

#[test]
fn lists_of_each_encoding_read_alike() {
    let expected = list(&["a", "-5", "a"]);
    assert_eq!(read(1, b"\x03\x01a\xc0\xfb\x01a"), expected);
    let ziplist = ziplist_of(&["a", "-5", "a"]);
    assert_eq!(read(10, &string(&ziplist)), expected);
    let parts = [string(&ziplist_of(&["a", "-5"])), string(&ziplist_of(&[])), string(&ziplist_of(&["a"]))];
    assert_eq!(read(14, &[b"\x03", &parts.concat()[..]].concat()), expected);
    let packed = listpack(&[b"\x81a\x02", b"\xdf\xfb\x02"]);
    let nodes = [b"\x03\x02", &string(&packed)[..], b"\x02", &string(&listpack(&[])), b"\x01\x01a"].concat();
    assert_eq!(read(18, &nodes), expected);
}

#[test]
fn a_ziplist_has_these_forms() {
    // The example of Redis's own description: 2 and 5.
    assert_eq!(read(10, b"\x0f\x0f\0\0\0\x0c\0\0\0\x02\0\0\xf3\x02\xf6\xff"), list(&["2", "5"]));
    let long = |length: usize| "z".repeat(length);
    let strings = [long(63), long(64), long(253), long(16_383), long(16_384), String::new()];
    let elements = strings.each_ref().map(|text| {
        let head = match text.len() as u32 {
            length @ 0..64 => vec![length as u8],
            length @ 64..16_384 => (0x4000 | length as u16).to_be_bytes().to_vec(),
            length => [&[0x80][..], &length.to_be_bytes()].concat(),
        };
        [&head, text.as_bytes()].concat()
    });
    let read_back = read(10, &string(&ziplist(&elements)));
    assert_eq!(read_back, list(&strings.each_ref().map(String::as_str)));
    let numbers: [(&[u8], &str); 12] = [
        (b"\xf1", "0"),
        (b"\xfd", "12"),
        (b"\xfe\x80", "-128"),
        (b"\xfe\x7f", "127"),
        (b"\xc0\x00\x80", "-32768"),
        (b"\xc0\xff\x7f", "32767"),
        (b"\xf0\x00\x00\x80", "-8388608"),
        (b"\xf0\xff\xff\x7f", "8388607"),
        (b"\xd0\x00\x00\x00\x80", "-2147483648"),
        (b"\xd0\xff\xff\xff\x7f", "2147483647"),
        (b"\xe0\x00\x00\x00\x00\x00\x00\x00\x80", "-9223372036854775808"),
        (b"\xe0\xff\xff\xff\xff\xff\xff\xff\x7f", "9223372036854775807"),
    ];
    let elements: Vec<Vec<u8>> = numbers.iter().map(|(form, _)| form.to_vec()).collect();
    assert_eq!(read(10, &string(&ziplist(&elements))), list(&numbers.map(|(_, text)| text)));
    // More elements than can be counted.
    let mut many = ziplist(&vec![b"\xf2".to_vec(); 70_000]);
    many[8..10].fill(0xff);
    assert_eq!(read(10, &string(&many)), list(&vec!["1"; 70_000]));
}

#[test]
fn a_ziplist_that_contradicts_itself_is_refused() {
    let good = ziplist_of(&["ab", "cd"]);
    assert_eq!(read(10, &string(&good)), list(&["ab", "cd"]));
    for (at, byte, what) in [
        (0, 0x14, "a ziplist whose header or end is not one"),
        (4, 0x13, "a ziplist whose header or end is not one"),
        (4, 0x09, "a ziplist whose header or end is not one"),
        (18, 0xfe, "a ziplist whose header or end is not one"),
        (4, 0x0a, "a ziplist that has other elements than it says"),
        (8, 0x03, "a ziplist that has other elements than it says"),
        (10, 0x01, "a ziplist with an element that is not one"),
        (14, 0x03, "a ziplist with an element that is not one"),
        (14, 0xff, "a ziplist with an element that is not one"),
        (11, 0x09, "a ziplist with an element that is not one"),
        (11, 0xc1, "a ziplist with an element that is not one"),
        (11, 0xff, "a ziplist with an element that is not one"),
    ] {
        let mut damaged = good.clone();
        assert_ne!(damaged[at], byte, "byte {at}");
        damaged[at] = byte;
        assert_refused(read(10, &string(&damaged)), what);
    }
    assert_refused(read(10, &string(&good[..10])), "a ziplist whose header or end is not one");
}

#[test]
fn a_listpack_has_these_forms() {
    let forms: [(&[u8], &str); 14] = [
        (b"\x00\x01", "0"),
        (b"\x7f\x01", "127"),
        (b"\xc0\x80\x02", "128"),
        (b"\xcf\xff\x02", "4095"),
        (b"\xd0\x00\x02", "-4096"),
        (b"\xdf\xff\x02", "-1"),
        (b"\xf1\x00\x10\x03", "4096"),
        (b"\xf1\x00\x80\x03", "-32768"),
        (b"\xf2\x00\x80\x00\x04", "32768"),
        (b"\xf2\x00\x00\x80\x04", "-8388608"),
        (b"\xf3\x00\x00\x80\x00\x05", "8388608"),
        (b"\xf3\x00\x00\x00\x80\x05", "-2147483648"),
        (b"\xf4\x00\x00\x00\x80\x00\x00\x00\x00\x09", "2147483648"),
        (b"\xf4\xff\xff\xff\xff\xff\xff\xff\x7f\x09", "9223372036854775807"),
    ];
    let texts = forms.map(|(_, text)| text);
    let bytes = listpack(&forms.map(|(form, _)| form));
    assert_eq!(read(18, &[b"\x01\x02", &string(&bytes)[..]].concat()), list(&texts));
    assert_eq!(listpack_of(&texts).escape_ascii().to_string(), bytes.escape_ascii().to_string());
    // Sizes of elements around the places where the size behind them gets longer; Redis is one off at three of them.
    let lengths =
        [0, 63, 64, 124, 125, 126, 4095, 4096, 16_376, 16_377, 16_378, 16_379, 2_097_144, 2_097_146];
    let texts = lengths.map(|length| "z".repeat(length));
    let bytes = listpack_of(&texts.each_ref().map(String::as_str));
    assert_eq!(
        read(18, &[b"\x01\x02", &string(&bytes)[..]].concat()),
        list(&texts.each_ref().map(String::as_str))
    );
    let size_behind = |length: usize| {
        let bytes = listpack_of(&[&"z".repeat(length)]);
        bytes[bytes.len() - 1 - (bytes.len() - 6 - 5 - 1 - length)..bytes.len() - 1].to_vec()
    };
    assert_eq!(size_behind(16_377), b"\x7f\xfe");
    assert_eq!(size_behind(16_378), b"\x00\xff\xff");
    let many = listpack_of(&vec!["1"; 70_000]);
    assert_eq!(many[4..6], [0xff, 0xff]);
    assert_eq!(read(18, &[b"\x01\x02", &string(&many)[..]].concat()), list(&vec!["1"; 70_000]));
}

#[test]
fn a_listpack_that_contradicts_itself_is_refused() {
    let good = listpack_of(&["ab", "cd"]);
    let as_node = |bytes: &[u8]| [b"\x01\x02", &string(bytes)[..]].concat();
    assert_eq!(read(18, &as_node(&good)), list(&["ab", "cd"]));
    for (at, byte, what) in [
        (0, 0x10, "a listpack whose header or end is not one"),
        (14, 0xfe, "a listpack whose header or end is not one"),
        (4, 0x03, "a listpack that has other elements than it says"),
        (9, 0x04, "a listpack with an element that is not one"),
        (6, 0x83, "a listpack with an element that is not one"),
        (10, 0xf5, "a listpack with an element that is not one"),
        (10, 0xff, "a listpack with an element that is not one"),
        (10, 0xbf, "a listpack with an element that is not one"),
    ] {
        let mut damaged = good.clone();
        assert_ne!(damaged[at], byte, "byte {at}");
        damaged[at] = byte;
        assert_refused(read(18, &as_node(&damaged)), what);
    }
    assert_refused(read(18, &as_node(&good[..6])), "a listpack whose header or end is not one");
    assert_refused(read(18, b"\x01\x03\x01a"), "a node of an unknown kind");
    assert_refused(read(18, b"\x01\x01\x00"), "a plain node without an element");
}

#[test]
fn sets_of_each_encoding_read_alike() {
    let expected = set(&["-5", "7", "300"]);
    assert_eq!(read(2, b"\x03\xc0\xfb\x017\x03300"), expected);
    assert_eq!(read(20, &string(&listpack_of(&["300", "-5", "7"]))), expected);
    for width in [2usize, 4, 8] {
        let members = [-5i64, 7, 300].map(|member| member.to_le_bytes()[..width].to_vec()).concat();
        let bytes = [&(width as u32).to_le_bytes()[..], &3u32.to_le_bytes(), &members].concat();
        assert_eq!(read(11, &string(&bytes)), expected, "{width} bytes each");
    }
    for (bytes, what) in [
        (&b"\x02\0\0\0\x00\0\0\0"[..], "an intset whose header does not fit"),
        (b"\x02\0\0\0\x02\0\0\0\x01\0", "an intset whose header does not fit"),
        (b"\x03\0\0\0\x01\0\0\0\x01\0\0", "an intset whose header does not fit"),
        (b"\x02\0\0\0\x00\0\0\x80\x01\0", "an intset whose header does not fit"),
        (b"\x02\0\0\0", "an intset whose header does not fit"),
        (b"\x02\0\0\0\x02\0\0\0\x01\0\x01\0", "an intset whose members do not ascend"),
        (b"\x02\0\0\0\x02\0\0\0\x01\0\xff\xff", "an intset whose members do not ascend"),
    ] {
        assert_refused(read(11, &string(bytes)), what);
    }
}

#[test]
fn sorted_sets_of_each_encoding_read_alike() {
    let expected = sorted_set(&[("a", 1.5), ("b", f64::INFINITY), ("c", -7.0), ("d", f64::NEG_INFINITY)]);
    assert_eq!(read(3, b"\x04\x01a\x031.5\x01b\xfe\x01c\x02-7\x01d\xff"), expected);
    let scores = [1.5f64, f64::INFINITY, -7.0, f64::NEG_INFINITY].map(f64::to_le_bytes);
    let pairs: Vec<u8> = [b"a", b"b", b"c", b"d"]
        .iter()
        .zip(scores)
        .flat_map(|(name, score)| [&b"\x01"[..], *name, &score].concat())
        .collect();
    assert_eq!(read(5, &[b"\x04", &pairs[..]].concat()), expected);
    let texts = ["d", "-inf", "c", "-7", "a", "1.5", "b", "inf"];
    assert_eq!(read(12, &string(&ziplist_of(&texts))), expected);
    assert_eq!(read(17, &string(&listpack_of(&texts))), expected);
    for (code, bytes) in [
        (3, b"\x01\x01a\xfd".to_vec()),
        (3, b"\x01\x01a\x03nan".to_vec()),
        (3, b"\x01\x01a\x00".to_vec()),
        (5, [b"\x01\x01a", &f64::NAN.to_le_bytes()[..]].concat()),
        (12, string(&ziplist_of(&["a", "nan"]))),
        (17, string(&listpack_of(&["a", "b"]))),
    ] {
        assert_refused(read(code, &bytes), "a score that is not a number");
    }
    assert_refused(read(12, &string(&ziplist_of(&["a", "1", "b"]))), "an element without its other half");
    assert_refused(read(17, &string(&listpack_of(&["a"]))), "an element without its other half");
}

#[test]
fn hashes_of_each_encoding_read_alike() {
    let expected = hash(&[("foo", "bar", None), ("hello", "world", None)]);
    assert_eq!(read(4, b"\x02\x03foo\x03bar\x05hello\x05world"), expected);
    // The example of Redis's own description, with bytes that mean nothing.
    let zipmap = b"\x02\x03foo\x03\x02bar..\x05hello\x05\x00world\xff";
    assert_eq!(read(9, &string(zipmap)), expected);
    let texts = ["foo", "bar", "hello", "world"];
    assert_eq!(read(13, &string(&ziplist_of(&texts))), expected);
    assert_eq!(read(16, &string(&listpack_of(&texts))), expected);
    for code in [13, 16] {
        let odd = if code == 13 { ziplist_of(&texts[..3]) } else { listpack_of(&texts[..3]) };
        assert_refused(read(code, &string(&odd)), "an element without its other half");
    }
}

#[test]
fn a_zipmap_counts_fields_and_has_long_ones() {
    let long = "z".repeat(300);
    let wide = |text: &str| [&[254][..], &(text.len() as u32).to_le_bytes()].concat();
    let one = [&b"\x01"[..], &wide(&long), long.as_bytes(), &wide(&long), b"\x00", long.as_bytes(), b"\xff"]
        .concat();
    assert_eq!(read(9, &string(&one)), hash(&[(&long, &long, None)]));
    let mut uncounted = one.clone();
    uncounted[0] = 254;
    assert_eq!(read(9, &string(&uncounted)), hash(&[(&long, &long, None)]));
    for (bytes, what) in [
        (&b"\x02\x01a\x01\x00b\xff"[..], "a zipmap that has other fields than it says"),
        (b"\x00\xff", "a zipmap that has other fields than it says"),
        (b"\xff", "a zipmap whose beginning or end is not one"),
        (b"\x01\x01a\x01\x00b", "a zipmap whose beginning or end is not one"),
        (b"\x01\x01a\x01\x01b\xff", "a zipmap with a broken field"),
        (b"\x01\x01a\xff\xff", "a zipmap with a broken field"),
        (b"\x01\x01a\xfe\x01\0\0\0\x00b\xff", "a zipmap with a broken field"),
        (b"\x02\x01a\x01\x00b\x01a\x01\x00c\xff", "an element that is there twice"),
    ] {
        assert_refused(read(9, &string(bytes)), what);
    }
}

#[test]
fn fields_that_are_due_read_alike_from_redis_and_valkey() {
    let (soon, late) = (1_790_000_000_123i64, 1_790_000_009_000i64);
    let expected = hash(&[("a", "1", Some(late)), ("b", "2", None), ("c", "3", Some(soon))]);
    let wide = |number: i64| [&[0x81][..], &number.to_be_bytes()].concat();
    let before_release =
        [&b"\x03"[..], &wide(late), b"\x01a\x011", b"\x00\x01b\x012", &wide(soon), b"\x01c\x013"].concat();
    assert_eq!(read(22, &before_release), expected);
    let told_from_earliest =
        [&soon.to_le_bytes()[..], b"\x03", b"\x62\xae\x01a\x011", b"\x00\x01b\x012", b"\x01\x01c\x013"]
            .concat();
    assert_eq!(read(24, &told_from_earliest), expected);
    let packed = listpack_of(&["c", "3", &soon.to_string(), "a", "1", &late.to_string(), "b", "2", "0"]);
    assert_eq!(read(23, &string(&packed)), expected);
    assert_eq!(read(25, &[&soon.to_le_bytes()[..], &string(&packed)].concat()), expected);
    let valkey = [
        &b"\x03\x01a\x011"[..],
        &late.to_le_bytes(),
        b"\x01b\x012",
        &(-1i64).to_le_bytes(),
        b"\x01c\x013",
        &soon.to_le_bytes(),
    ]
    .concat();
    assert_eq!(read_as(80, 22, &valkey), expected);
    assert_refused(read_as(80, 24, &told_from_earliest), "Format(None)");

    let wrong_due = "a field that is due at a time which cannot be";
    let latest = [&b"\x01"[..], &wide(DUE_MS_MAX), b"\x01a\x011"].concat();
    assert_eq!(read(22, &latest), hash(&[("a", "1", Some(DUE_MS_MAX))]));
    assert_refused(read(22, &[&b"\x01"[..], &wide(DUE_MS_MAX + 1), b"\x01a\x011"].concat()), wrong_due);
    assert_refused(read(24, &[&DUE_MS_MAX.to_le_bytes()[..], b"\x01\x02\x01a\x011"].concat()), wrong_due);
    assert_refused(read(24, &[&[0xff; 8][..], b"\x01\x02\x01a\x011"].concat()), wrong_due);
    assert_refused(read_as(80, 22, &[&b"\x01\x01a\x011"[..], &(-2i64).to_le_bytes()].concat()), wrong_due);
    let far = [&b"\x01\x01a\x011"[..], &i64::MAX.to_le_bytes()].concat();
    assert_eq!(read_as(80, 22, &far), hash(&[("a", "1", Some(DUE_MS_MAX))]));
    assert_refused(read(23, &string(&listpack_of(&["a", "1", "-1"]))), wrong_due);
    assert_refused(read(23, &string(&listpack_of(&["a", "1", "x"]))), "text where a whole number must be");
    assert_refused(read(23, &string(&listpack_of(&["a", "1"]))), "a field without its value or time");
    let order = "fields that are not in the order in which they are due";
    assert_refused(read(23, &string(&listpack_of(&["a", "1", "9", "b", "2", "8"]))), order);
    assert_refused(read(23, &string(&listpack_of(&["a", "1", "0", "b", "2", "8"]))), order);
}

#[test]
fn what_is_there_twice_is_refused_in_every_encoding() {
    let (two, four) = (["a", "a"], ["a", "1", "a", "2"]);
    let score = 1f64.to_le_bytes();
    for (code, bytes) in [
        (2, b"\x02\x01a\x01a".to_vec()),
        (20, string(&listpack_of(&two))),
        (3, b"\x02\x01a\x011\x01a\x012".to_vec()),
        (5, [b"\x02\x01a", &score[..], b"\x01a", &score[..]].concat()),
        (12, string(&ziplist_of(&four))),
        (17, string(&listpack_of(&four))),
        (4, b"\x02\x01a\x011\x01a\x012".to_vec()),
        (13, string(&ziplist_of(&four))),
        (16, string(&listpack_of(&four))),
        (22, b"\x02\x00\x01a\x011\x00\x01a\x012".to_vec()),
        (23, string(&listpack_of(&["a", "1", "0", "a", "2", "0"]))),
        (24, b"--------\x02\x00\x01a\x011\x00\x01a\x012".to_vec()),
    ] {
        assert_refused(read(code, &bytes), "an element that is there twice");
    }
    // A number is the same in each form.
    assert_refused(read(2, b"\x02\x015\xc0\x05"), "an element that is there twice");
}

#[test]
fn an_empty_collection_is_no_value_and_a_file_with_one_goes_on() {
    let none = string(&listpack_of(&[]));
    let (no_ziplist, nodes) = (string(&ziplist_of(&[])), [b"\x01\x02", &none[..]].concat());
    let (ziplists, with_due) = ([b"\x01", &no_ziplist[..]].concat(), [b"--------", &none[..]].concat());
    let empty = [
        (1, b"\x00".to_vec()),
        (10, no_ziplist.clone()),
        (14, b"\x00".to_vec()),
        (14, ziplists),
        (18, nodes),
        (2, b"\x00".to_vec()),
        (20, none.clone()),
        (3, b"\x00".to_vec()),
        (5, b"\x00".to_vec()),
        (12, no_ziplist.clone()),
        (17, none.clone()),
        (4, b"\x00".to_vec()),
        (13, no_ziplist),
        (16, none.clone()),
        (22, b"\x00".to_vec()),
        (23, none),
        (24, b"--------\x00".to_vec()),
        (25, with_due),
    ];
    let mut file = b"REDIS0012".to_vec();
    for (code, value) in &empty {
        assert_refused(read(*code, value), "empty");
        file.extend_from_slice(&[&[*code], &b"\x01e"[..], value, b"\x00\x01k\x01v"].concat());
    }
    file.extend_from_slice(b"\xff\0\0\0\0\0\0\0\0");
    let mut reader = Reader::new(&file[..]).expect("a header");
    for (code, _) in empty {
        let key = reader.next_key().expect("good").expect("a key");
        let decoded = reader.value(&mut Collector::new(key.kind)).expect("good");
        assert_eq!((decoded, &key.name[..]), (Decoded::Empty, &b"e"[..]), "{code}");
        let key = reader.next_key().expect("good").expect("a key");
        let mut value = Collector::new(key.kind);
        assert_eq!(reader.value(&mut value).expect("good"), Decoded::Whole);
        assert_eq!(value.into_value(), Value::String(b"v".to_vec()));
    }
    assert_eq!(reader.next_key().expect("the end"), None);
}

#[test]
fn a_count_that_cannot_be_costs_nothing() {
    let huge = [&[0x81][..], &u64::MAX.to_be_bytes()].concat();
    for code in [1, 14, 18, 2, 3, 5, 4, 15, 19, 21, 22] {
        assert_refused(read(code, &huge), "the data ends in the middle of something");
    }
    let none = string(&listpack(&[]));
    for code in [1, 14, 18, 2, 3, 5, 4, 22] {
        assert_refused(read(code, &[&huge[..], &none].concat()), "");
    }
}

fn id(ms: u64, number: u64) -> StreamId {
    StreamId { ms, number }
}

/// A node of a stream with this id; its elements are words.
fn node(at: StreamId, elements: &str) -> Vec<u8> {
    let elements: Vec<&str> = elements.split(' ').collect();
    [string(&at.to_bytes()), string(&listpack_of(&elements))].concat()
}

/// Three nodes: fields of the node, others, and a deleted entry between two; the number goes down where the time goes up.
fn nodes() -> Vec<u8> {
    let first = node(id(100, 5), "2 1 2 f g 0 2 0 0 v w 5 3 0 1 x y 5 0 3 -5 1 h z 6");
    let second = node(id(200, 0), "1 0 1 f 0 2 0 0 1 4");
    [b"\x02", &first[..], &second].concat()
}

fn entries() -> Vec<(StreamId, owned::Pairs)> {
    let fields = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
    };
    vec![
        (id(100, 5), fields(&[("f", "v"), ("g", "w")])),
        (id(103, 0), fields(&[("h", "z")])),
        (id(200, 0), fields(&[("f", "1")])),
    ]
}

/// A group with two consumers, of which one has two pending entries.
fn group_bytes(revision: u8) -> Vec<u8> {
    let counted: &[u8] = if revision > 1 { b"\x02" } else { b"" };
    let active = |ms: i64| if revision > 2 { ms.to_le_bytes().to_vec() } else { Vec::new() };
    let (one, other) = (id(100, 5).to_bytes(), id(103, 0).to_bytes());
    [
        &b"\x01\x01g\x40\x67\x00"[..],
        counted,
        b"\x02",
        &one,
        &7i64.to_le_bytes(),
        b"\x01",
        &other,
        &8i64.to_le_bytes(),
        b"\x03",
        b"\x02\x01c",
        &9i64.to_le_bytes(),
        &active(8),
        b"\x02",
        &one,
        &other,
        b"\x01d",
        &5i64.to_le_bytes(),
        &active(-1),
        b"\x00",
    ]
    .concat()
}

fn group(entries_read: Option<u64>, active: [Option<i64>; 2]) -> Group {
    let consumer = |name: &str, seen_ms, active_ms| Consumer { name: name.into(), seen_ms, active_ms };
    Group {
        name: b"g".to_vec(),
        last_id: id(103, 0),
        entries_read,
        consumers: vec![consumer("c", 9, active[0]), consumer("d", 5, active[1])],
        pending: vec![
            Pending { id: id(100, 5), delivered_ms: 7, deliveries: 1, consumer: 0 },
            Pending { id: id(103, 0), delivered_ms: 8, deliveries: 3, consumer: 0 },
        ],
    }
}

#[test]
fn streams_of_each_revision_read_alike() {
    let last = b"\x03\x40\xfa\x01";
    let more = b"\x40\x64\x05\x40\x64\x06\x04";
    let state = StreamState { last_id: id(250, 1), max_deleted_id: id(100, 6), entries_added: 4 };
    let expected =
        |state, group| Ok(Value::Stream(StreamValue { entries: entries(), state, groups: vec![group] }));
    let old = [&nodes()[..], last, &group_bytes(1)].concat();
    let old_state = StreamState { max_deleted_id: id(0, 0), entries_added: 3, ..state };
    assert_eq!(read(15, &old), expected(old_state, group(None, [Some(9), Some(5)])));
    let counted = [&nodes()[..], last, more, &group_bytes(2)].concat();
    assert_eq!(read(19, &counted), expected(state, group(Some(2), [Some(9), Some(5)])));
    let active = [&nodes()[..], last, more, &group_bytes(3)].concat();
    assert_eq!(read(21, &active), expected(state, group(Some(2), [Some(8), None])));
}

#[test]
fn a_stream_may_be_empty_and_remembers_what_was() {
    let state = StreamState { last_id: id(5, 1), max_deleted_id: id(5, 1), entries_added: 7 };
    let expected = |state| Ok(Value::Stream(StreamValue { state, ..StreamValue::default() }));
    assert_eq!(read(19, b"\x00\x00\x05\x01\x00\x00\x05\x01\x07\x00"), expected(state));
    let old = StreamState { last_id: id(5, 1), ..StreamState::default() };
    assert_eq!(read(15, b"\x00\x00\x05\x01\x00"), expected(old));
    assert_refused(read(15, b"\x00\x01\x05\x01\x00"), "a stream with entries but without nodes");
    // All entries of the node are deleted.
    let dead = [&b"\x01"[..], &node(id(1, 1), "0 1 1 f 0 3 0 0 v 4"), b"\x00\x05\x01\x00"].concat();
    assert_eq!(read(15, &dead), expected(old));
}

#[test]
fn how_much_a_group_of_redis_5_has_read_is_told_where_it_can_be() {
    let group_at = |last_ms: u8| [&b"\x01\x01g"[..], &[last_ms, 0], b"\x00\x00"].concat();
    let entries = node(id(3, 0), "2 0 1 f 0 2 0 0 v 4 2 2 0 v 4");
    for (last_ms, expected) in [(0, Some(0)), (3, Some(1)), (4, None), (5, None), (9, Some(2)), (10, None)] {
        let stream = [&b"\x01"[..], &entries, b"\x02\x09\x00", &group_at(last_ms)].concat();
        let Ok(Value::Stream(stream)) = read(15, &stream) else { panic!("a stream") };
        assert_eq!(stream.groups[0].entries_read, expected, "at {last_ms}");
    }
}

#[test]
fn a_stream_that_contradicts_itself_is_refused() {
    let rest = b"\x01\x40\xfa\x01\x00";
    let stream = |nodes: &[Vec<u8>]| [&[nodes.len() as u8][..], &nodes.concat(), rest].concat();
    let one = |elements: &str| stream(&[node(id(200, 0), elements)]);
    assert!(read(15, &one("1 0 1 f 0 2 0 0 1 4")).is_ok());
    for (elements, what) in [
        ("1 0 1 f 0 2 0 0 1 5", "an entry of a stream that has other elements than it says"),
        ("1 0 1 f 1 2 0 0 1 4", "a node of a stream whose first entry has no end"),
        ("2 0 1 f 0 2 0 0 1 4", "a node of a stream that ends inside an entry"),
        ("0 0 1 f 0 2 0 0 1 4", "a node of a stream with more than its entries"),
        ("-1 0 1 f 0 2 0 0 1 4", "a node of a stream with fewer than no elements"),
        (
            "9223372036854775807 9223372036854775807 1 f 0 2 0 0 1 4",
            "a node of a stream that ends inside an entry",
        ),
        ("1 0 x f 0 2 0 0 1 4", "text where a whole number must be"),
        ("1 0 9 f 0 2 0 0 1 4", "a node of a stream that ends inside an entry"),
        ("1 0 1 f 0 0 0 0 9223372036854775807 1 4", "a node of a stream that ends inside an entry"),
        ("1 0 0 0 2 0 0 3", "an entry of a stream without fields"),
        ("1 0 1 f 0 0 0 0 0 4", "an entry of a stream without fields"),
        ("2 0 1 f 0 2 0 0 1 4 2 0 0 1 4", "entries of a stream that do not ascend"),
        ("1 0 1 f 0 2 -200 0 1 4", "entries of a stream that do not ascend"),
        ("1 0 1 f 0 2 51 0 1 4", "a stream with an entry behind its last one"),
    ] {
        assert_refused(read(15, &one(elements)), what);
    }
    let same = node(id(200, 0), "1 0 1 f 0 2 0 0 1 4");
    assert_refused(read(15, &stream(&[same.clone(), same])), "entries of a stream that do not ascend");
    let short = [string(b"short"), string(&listpack_of(&["1"]))].concat();
    assert_refused(read(15, &stream(&[short])), "a node whose name is not the id of an entry");
    let unpacked = [string(&id(1, 1).to_bytes()), string(b"")].concat();
    assert_refused(read(15, &stream(&[unpacked])), "a listpack whose header or end is not one");
}

#[test]
fn groups_that_contradict_themselves_are_refused() {
    let stream = |groups: &[u8]| [&b"\x00\x00\x05\x01"[..], groups].concat();
    let (one, other) = (id(1, 0).to_bytes(), id(2, 0).to_bytes());
    let pending = |ids: &[[u8; 16]]| -> Vec<u8> {
        let all: Vec<u8> = ids.iter().flat_map(|id| [&id[..], &[0; 8], b"\x01"].concat()).collect();
        [&[ids.len() as u8], &all[..]].concat()
    };
    let consumer = |name: &str, ids: &[[u8; 16]]| {
        [&[name.len() as u8], name.as_bytes(), &[0; 8], &[ids.len() as u8], &ids.concat()].concat()
    };
    let group = |pending: Vec<u8>, consumers: &[Vec<u8>]| {
        [b"\x01g\x01\x00", &pending[..], &[consumers.len() as u8], &consumers.concat()].concat()
    };
    let good = group(pending(&[one, other]), &[consumer("a", &[other]), consumer("b", &[one])]);
    assert!(read(15, &stream(&[b"\x01", &good[..]].concat())).is_ok());
    let none = pending(&[]);
    for (groups, what) in [
        (vec![good.clone(), good], "a consumer group that is there twice"),
        (vec![group(pending(&[one, one]), &[])], "pending entries that do not ascend"),
        (vec![group(pending(&[other, one]), &[])], "pending entries that do not ascend"),
        (vec![group(pending(&[one]), &[])], "a pending entry of no consumer"),
        (vec![group(none.clone(), &[consumer("a", &[one])])], "a consumer has an entry that is not pending"),
        (
            vec![group(pending(&[one]), &[consumer("a", &[one]), consumer("b", &[one])])],
            "a pending entry of two consumers",
        ),
        (vec![group(none, &[consumer("a", &[]), consumer("a", &[])])], "a consumer that is there twice"),
    ] {
        assert_refused(read(15, &stream(&[&[groups.len() as u8], &groups.concat()[..]].concat())), what);
    }
}

#[test]
fn entries_that_share_long_names_do_not_grow_without_a_limit() {
    let shared = |name_bytes: usize, entries: usize| {
        let mut words = vec![entries.to_string(), "0".into(), "1".into(), "n".repeat(name_bytes), "0".into()];
        words.extend(
            (0..entries)
                .flat_map(|number| ["2".into(), number.to_string(), "0".into(), "v".into(), "4".into()]),
        );
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let node = [string(&id(1, 0).to_bytes()), string(&listpack_of(&words))].concat();
        [&b"\x01"[..], &node, b"\x01\x81\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00"].concat()
    };
    struct Count(u64);
    impl Sink for Count {
        fn string(&mut self, _: Vec<u8>) {}
        fn element(&mut self, _: &[u8]) {}
        fn member(&mut self, _: &[u8]) -> bool {
            true
        }
        fn scored(&mut self, _: &[u8], _: f64) -> bool {
            true
        }
        fn field(&mut self, _: &[u8], _: &[u8], _: Option<i64>) -> bool {
            true
        }
        fn entry(&mut self, _: StreamId, fields: EntryFields<'_>) {
            self.0 += fields.iter().map(|(name, value)| (name.len() + value.len()) as u64).sum::<u64>();
        }
        fn stream(&mut self, _: StreamState) {}
        fn group(&mut self, _: Group) {}
    }
    let count = |stream: &[u8]| {
        let payload = seal_payload(Body { bytes: [&[15], stream].concat(), version: 12 });
        let mut count = Count(0);
        let outcome = Payload::open(&payload).expect("a good footer").give(&mut count);
        (outcome.is_ok(), count.0, payload.len() as u64)
    };
    let (is_good, bytes, _) = count(&shared(2000, 2000));
    assert!(is_good && bytes == 2001 * 2000);
    let (is_good, bytes, length) = count(&shared(100_000, 20_000));
    assert!(!is_good && bytes <= 1025 * length + (100 << 10), "{bytes} from {length}");
}

/// A string of a kind that matters to some encoding.
fn text(random: &mut Random) -> Vec<u8> {
    match random.below(8) {
        0..=2 => (random.next_u64() as i64 >> random.below(64)).to_string().into_bytes(),
        3 => vec![b'z'; random.below(300) as usize],
        4 => (0..random.below(200) * random.below(20)).map(|_| random.next_u64() as u8).collect(),
        _ => (0..random.below(12)).map(|_| random.next_u64() as u8).collect(),
    }
}

fn any_value(random: &mut Random, kind: Kind) -> Value {
    let count = 1 + match random.below(4) {
        0 => random.below(700),
        _ => random.below(12),
    };
    let numbers = random.below(2) == 0;
    let element = |random: &mut Random| match numbers {
        true => (random.next_u64() as i64 >> (random.below(5) * 12)).to_string().into_bytes(),
        false => text(random),
    };
    let mut collector = Collector::new(kind);
    let mut last = id(random.below(1 << 40), random.next_u64() >> random.below(64));
    if kind == Kind::String {
        collector.string(text(random));
    }
    for _ in 0..count {
        let (name, value) = (element(random), text(random));
        match kind {
            Kind::String => {}
            Kind::List => collector.element(&name),
            Kind::Stream => {
                let mut fields = Strings::default();
                for at in 0..1 + random.below(3) * random.below(3) {
                    fields.push(if random.below(4) > 0 { b"name" } else { &name });
                    fields.push(if at == 0 { &value } else { b"7" });
                }
                collector.entry(last, EntryFields::in_turn(&fields));
                let ms = last.ms + random.below(3);
                let number = if ms > last.ms { random.below(5) } else { last.number.wrapping_add(1) };
                if (id(ms, number)) > last {
                    last = id(ms, number);
                } else {
                    last = id(ms + 1, 0);
                }
            }
            // What is there already is not for this test.
            _ if collector.has(&name) => {}
            Kind::Set => assert!(collector.member(&name)),
            Kind::SortedSet => {
                let score = f64::from_bits(random.next_u64());
                assert!(collector.scored(&name, if score.is_nan() { f64::INFINITY } else { score }));
            }
            Kind::Hash => {
                let due = (random.below(3) == 0).then(|| 1 + random.below(DUE_MS_MAX as u64) as i64);
                assert!(collector.field(&name, &value, due));
            }
        }
    }
    if kind == Kind::Stream {
        let state =
            StreamState { last_id: last, max_deleted_id: id(1, 2), entries_added: random.next_u64() >> 8 };
        collector.stream(state);
        for number in 0..random.below(3) {
            collector.group(any_group(random, number));
        }
    }
    collector.into_value()
}

fn any_group(random: &mut Random, number: u64) -> Group {
    let consumers = (0..random.below(4)).map(|number| {
        let seen_ms = random.next_u64() as i64;
        Consumer {
            name: format!("consumer{number}").into(),
            seen_ms,
            active_ms: Some(seen_ms).filter(|ms| *ms != -1),
        }
    });
    let consumers: Vec<Consumer> = consumers.collect();
    let pending = if consumers.is_empty() { 0 } else { random.below(20) };
    let pending = (0..pending).map(|at| Pending {
        id: id(at, random.next_u64()),
        delivered_ms: random.next_u64() as i64,
        deliveries: random.next_u64() >> random.below(64),
        consumer: random.below(consumers.len() as u64) as u32,
    });
    let pending = pending.collect();
    Group {
        name: format!("group{number}").into(),
        last_id: id(random.next_u64(), 7),
        entries_read: (random.below(2) == 0).then(|| random.next_u64() >> 1),
        pending,
        consumers,
    }
}

const KINDS: [Kind; 6] = [Kind::String, Kind::List, Kind::Set, Kind::SortedSet, Kind::Hash, Kind::Stream];

#[test]
fn what_is_encoded_reads_as_the_same_value() {
    for seed in 0..600u64 {
        let random = &mut Random::new(seed);
        let kind = KINDS[seed as usize % KINDS.len()];
        let value = any_value(random, kind);
        let mut encoder = Encoder::new(kind);
        assert!(value.give(&mut encoder));
        let body = encoder.finish();
        let has_due =
            matches!(&value, Value::Hash(fields) if fields.iter().any(|field| field.due_ms.is_some()));
        assert_eq!(body.version, if has_due { 12 } else { WRITTEN_VERSION }, "seed {seed}");
        let payload = seal_payload(body.clone());
        let payload = Payload::open(&payload).expect("a good payload");
        let mut collector = Collector::new(kind);
        payload.give(&mut collector).unwrap_or_else(|error| panic!("seed {seed}: {error:?}"));
        assert_eq!(collector.into_value().sorted(), value.clone().sorted(), "seed {seed}");
        // The same from a file, where it can also be passed over.
        let mut writer = Writer::new(Cursor::new(Vec::new()), 0, 0).expect("memory takes all");
        for name in [&b"one"[..], b"two"] {
            writer.value(name, &body, Some(9), None).expect("memory takes all");
        }
        let file = writer.finish().expect("memory takes all").into_inner();
        let mut reader = Reader::new(&file[..]).expect("a header");
        assert_eq!(reader.header().version, u32::from(body.version));
        let key = reader.next_key().expect("good").expect("a key");
        assert_eq!((key.kind, key.expire_at_ms), (kind, Some(9)));
        reader.pass_over(&key).expect("a value that can be passed over");
        assert_eq!(reader.skipped().count(), 1);
        let key = reader.next_key().expect("good").expect("a key");
        let mut collector = Collector::new(key.kind);
        assert_eq!(reader.value(&mut collector).expect("good"), Decoded::Whole);
        assert_eq!(collector.into_value().sorted(), value.sorted(), "seed {seed}");
        assert_eq!(reader.next_key().expect("the end"), None);
    }
}

#[test]
fn a_set_of_few_integers_is_written_as_an_intset() {
    let code_of = |members: &mut dyn Iterator<Item = String>| {
        let mut encoder = Encoder::new(Kind::Set);
        members.for_each(|member| assert!(encoder.member(member.as_bytes())));
        encoder.finish().bytes[0]
    };
    assert_eq!(code_of(&mut (0..512).map(|number| number.to_string())), 11);
    assert_eq!(code_of(&mut (0..513).map(|number| number.to_string())), 2);
    assert_eq!(code_of(&mut (0..5).map(|number| format!("0{number}"))), 2);
    assert_eq!(
        code_of(&mut (0..5).map(|number| if number == 4 { "x".into() } else { number.to_string() })),
        2
    );
}

#[test]
fn a_field_that_was_due_at_the_beginning_of_time_stays_due() {
    let mut encoder = Encoder::new(Kind::Hash);
    encoder.field(b"a", b"1", Some(0));
    let body = encoder.finish();
    assert_eq!(read(body.bytes[0], &body.bytes[1..]), hash(&[("a", "1", Some(1))]));
}
