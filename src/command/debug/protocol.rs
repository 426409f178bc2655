//! DEBUG PROTOCOL: one sample value of each type of the protocol, for tests of clients.

use crate::command::cx::{Cx, Failure, Outcome};
use crate::resp::Protocol;

const NO_SUCH_TYPE: Failure = Failure::text(
    "ERR Wrong protocol type name. Please use one of the following: \
     string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false",
);

#[allow(
    clippy::approx_constant,
    reason = "the digits are what clients' tests expect, not a number to calculate with"
)]
const SAMPLE_DOUBLE: f64 = 3.141;

pub fn sample(cx: &mut Cx<'_, '_>) -> Outcome {
    let resp3 = cx.reply.protocol() == Protocol::Resp3;
    match cx.args.at(2).to_ascii_lowercase().as_slice() {
        b"string" => cx.reply.bulk(b"Hello World"),
        b"integer" => cx.reply.integer(12345),
        b"double" => cx.reply.double(SAMPLE_DOUBLE),
        b"null" => cx.reply.null(),
        b"array" => {
            cx.reply.array(3);
            (0..3).for_each(|number| cx.reply.integer(number));
        }
        b"set" => {
            cx.reply.set(3);
            (0..3).for_each(|number| cx.reply.integer(number));
        }
        b"map" => {
            cx.reply.map(3);
            for number in 0..3 {
                cx.reply.integer(number);
                cx.reply.boolean(number == 1);
            }
        }
        b"attrib" => {
            if resp3 {
                cx.reply.raw(b"|1\r\n");
                cx.reply.bulk(b"key-popularity");
                cx.reply.array(2);
                cx.reply.bulk(b"key:123");
                cx.reply.integer(90);
            }
            cx.reply.bulk(b"Some real reply following the attribute");
        }
        b"push" if resp3 => {
            // The push comes first, out of turn; the reply to the request follows.
            cx.reply.push(2);
            cx.reply.bulk(b"server-cpu-usage");
            cx.reply.integer(42);
            cx.reply.bulk(b"Some real reply following the push reply");
        }
        b"push" => return Err(Failure::text("ERR RESP2 is not supported by this command")),
        b"true" => cx.reply.boolean(true),
        b"false" => cx.reply.boolean(false),
        b"verbatim" => cx.reply.verbatim("txt", "This is a verbatim\nstring"),
        b"bignum" => cx.reply.big_number("1234567999999999999999999999999999999"),
        _ => return Err(NO_SUCH_TYPE),
    }
    Ok(())
}
