//! A call as a person would write it: `bus.on("hit", chat.on_hit)`.

use crate::code::Chunk;
use crate::lua::calls;
use crate::lua::tracker::Creations;
use crate::lua::vm::{Kept, Kind, Ref, Vm};
use crate::stages::find::Context;
use crate::support::error::{Result, shown};

use super::OpenCall;
use super::names::FunctionNames;

/// A longer string is shortened.
const MOST_BYTES: usize = 40;

/// A scalar as text.
pub fn value(vm: &Vm, value: Ref) -> String {
    match vm.kind(value) {
        Kind::String => {
            let text = vm.with_bytes(value, |bytes| match bytes.get(..MOST_BYTES) {
                Some(start) => format!("{}...", shown(start)),
                None => shown(bytes),
            });
            format!("\"{}\"", text.unwrap_or_default())
        }
        Kind::Number => match vm.integer(value) {
            Some(integer) => integer.to_string(),
            None => vm.number_text(value).unwrap_or_default(),
        },
        Kind::Boolean => vm.truthy(value).to_string(),
        other => other.name().to_string(),
    }
}

/// The call.
pub(super) fn call(
    vm: &mut Vm,
    context: &Context,
    names: &mut FunctionNames,
    (chunk, chunk_at, made): (Option<&Chunk>, (usize, usize), Creations<'_>),
    call: &OpenCall,
) -> Result<String> {
    let (name, what) = (&call.name.0, call.name.1);
    let skipped = u32::from(what == "method");
    let mut text = callee(vm, call.function, call.args, (name, what), chunk_at)?;
    text.push('(');
    // What a caller leaves out at the end is nil.
    let count = (skipped..call.args.len())
        .rev()
        .find(|i| vm.kind(call.args.at(*i)) != Kind::Nil)
        .map_or(skipped, |last| last + 1);
    for i in skipped..count {
        if i > skipped {
            text.push_str(", ");
        }
        let arg = call.args.at(i);
        match vm.kind(arg) {
            Kind::Function => match names.name_of(vm, made, (chunk, chunk_at), arg)? {
                Some(name) => {
                    text.push_str(&context.title);
                    text.push('.');
                    text.push_str(&shown(&name));
                }
                None => text.push_str("function"),
            },
            Kind::Table => text.push_str("{...}"),
            _ => text.push_str(&value(vm, arg)),
        }
    }
    text.push(')');
    Ok(text)
}

/// The function as the caller names it: `bus.on`, `timer:every`, with the local of the chunk that
/// holds it.
pub fn callee(
    vm: &mut Vm,
    function: Ref,
    args: Kept<Ref>,
    (name, what): (&str, &str),
    (thread, main): (usize, usize),
) -> Result<String> {
    if name.is_empty() {
        return Ok(String::from("?"));
    }
    let mut text = String::new();
    let [first] = args.all();
    if matches!(what, "method" | "field") {
        let mut locals = Vec::new();
        calls::locals(vm, thread, main, &mut locals)?;
        let key = vm.string(name.as_bytes())?;
        for (local, value) in locals {
            if vm.kind(value) != Kind::Table {
                continue;
            }
            let found = vm.get(value, key)?;
            if vm.same(found, function) || what == "method" && vm.same(value, first) {
                text.push_str(&shown(&local));
                text.push(if what == "method" { ':' } else { '.' });
                break;
            }
        }
    }
    text.push_str(&shown(name.as_bytes()));
    Ok(text)
}
