//! The Lua text of a version.
//!
//! What a function does it reports to `T`. The other globals in capitals are the harness's
//! (`harness.lua`): `N` makes an integer of any value, `V` reads an object's own `v`, `C` calls a
//! function with one call less to go.

use std::fmt::Write;

use super::model::{
    At, Content, Data, Entry, Function, Gives, Import, Init, Local, Scalar, Style, Use, Version,
};

pub fn scalar(value: Scalar) -> String {
    match value {
        Scalar::True => "true".to_owned(),
        Scalar::False => "false".to_owned(),
        Scalar::Num(n) => n.to_string(),
        Scalar::Str(n) => format!("\"s{n}\""),
    }
}

fn import(value: Import) -> String {
    let text = match value {
        Import::Floor => "math.floor",
        Import::Ceil => "math.ceil",
        Import::Dep => "require \"dep\"",
        Import::DepF => "require(\"dep\").f",
        Import::DepG => "require(\"dep\").g",
        Import::Module => "require \"m\"",
        Import::ModuleF(key) => return format!("require(\"m\").f{key}"),
    };
    text.to_owned()
}

fn entry(value: &Entry) -> String {
    match value {
        Entry::Scalar(value) => scalar(*value),
        Entry::Table(value) => data(value),
    }
}

fn data(value: &Data) -> String {
    let named = value
        .fields
        .iter()
        .map(|(key, value)| format!("d{key} = {}", entry(value)));
    let all: Vec<String> = named.chain(value.rows.iter().map(entry)).collect();
    format!("{{ {} }}", all.join(", "))
}

fn does(does: Use) -> String {
    match does {
        Use::Read(local) => format!("T({})", local.name()),
        Use::Add(local) => format!("{0} = N({0}) + 1", local.name()),
        Use::Set(local) => format!("if v ~= nil then {} = v end", local.name()),
        Use::Clear(local) => format!("{} = nil", local.name()),
        Use::Call(local) => format!("C({}, n)", local.name()),
        Use::CallM(key) => format!("C(M.f{key}, n)"),
        Use::CallK(class, key) => format!("C(k{class}.f{key}, n)"),
        Use::Field(local, key) => format!("T({}.d{key})", local.name()),
        Use::Write(local, key) => format!("{0}.d{key} = N({0}.d{key}) + 1", local.name()),
        Use::Push(local) => format!("{0}[#{0} + 1] = n", local.name()),
        Use::Pop(local) => format!("{0}[#{0}] = nil", local.name()),
        Use::Global(key) => format!("T(g_d{key})"),
        Use::AddGlobal(key) => format!("g_d{key} = N(g_d{key}) + 1"),
        Use::Own => "T(x)".to_owned(),
        Use::AddOwn => "x = N(x) + 1".to_owned(),
    }
}

/// What the text of a function has on its first line.
pub fn marker(name: &str, revision: u32) -> String {
    format!("T(\"{name}#{revision}\")")
}

fn body(text: &mut String, indent: &str, tag: &str, uses: &[Use]) {
    let _ = writeln!(text, "{indent}n = N(n) T(\"{tag}\")");
    for part in uses {
        let _ = writeln!(text, "{indent}{}", does(*part));
    }
}

/// A function without its first word; `name` is where it stands, `method` whether it has an object.
fn function(name: &str, function: &Function, method: bool) -> String {
    let revision = function.revision;
    let mut text = format!("({}n, v)\n", if method { "self, " } else { "" });
    body(
        &mut text,
        "  ",
        &format!("{name}#{revision}"),
        &function.uses,
    );
    if method {
        text.push_str("  T(V(self))\n");
    }
    let nested = |text: &mut String, part: &str, uses: &[Use]| {
        text.push_str("(n, v)\n");
        body(text, "    ", &format!("{name}/{part}#{revision}"), uses);
        text.push_str("  end");
    };
    match &function.gives {
        Gives::Nothing => {}
        Gives::Instance(class) => {
            let _ = writeln!(text, "  return setmetatable({{ v = v }}, k{class})");
        }
        Gives::Closure(named, uses) => {
            text.push_str("  local x = v\n");
            text.push_str(if *named {
                "  local function inner"
            } else {
                "  return function"
            });
            nested(&mut text, "inner", uses);
            text.push_str(if *named { "\n  return inner\n" } else { "\n" });
        }
        Gives::Object(get, set) => {
            text.push_str("  local x = v\n  return { get = function");
            nested(&mut text, "get", get);
            text.push_str(", set = function");
            nested(&mut text, "set", set);
            text.push_str(" }\n");
        }
    }
    text.push_str("end");
    text
}

fn container(module: u8, at: At) -> String {
    match at {
        At::M => "M.".to_owned(),
        At::Sub(n) => format!("M.s{n}."),
        At::Local(local) => format!("{}.", local.name()),
        At::Globals => GLOBALS[usize::from(module)].to_owned(),
        At::List => "REG[#REG + 1]".to_owned(),
    }
}

/// What the modules' globals begin with.
pub const GLOBALS: [&str; 2] = ["g_", "j_"];

/// Where a slot stands.
pub fn place(module: u8, at: At, field: super::model::Field) -> String {
    format!("{}{}", container(module, at), field.name())
}

/// A place in the file of a module: no other one has it.
pub fn tag(module: u8, place: &str) -> String {
    format!("{}{place}", if module == 0 { "" } else { "n:" })
}

/// The file of a resolved version.
pub fn file(version: &Version) -> String {
    let mut text = String::new();
    text.push_str(match version.style {
        Style::Returned => "local M = {}\n",
        Style::Global => "local M = {} Mod = M\n",
        Style::Kept | Style::KeptAndReturned => "Mod = Mod or {} local M = Mod\n",
    });
    let module = version.module;
    let mut forward = String::new();
    for (local, init) in &version.locals {
        let name = local.name();
        let _ = match init {
            Init::Literal(None) => writeln!(text, "local {name}"),
            Init::Literal(Some(value)) => writeln!(text, "local {name} = {}", scalar(*value)),
            Init::Computed(n) => writeln!(text, "local {name} = tonumber \"{n}\""),
            Init::Import(value) => writeln!(text, "local {name} = {}", import(*value)),
            Init::Table(value) => writeln!(text, "local {name} = {}", data(value)),
            Init::Class(None) => writeln!(text, "local {name} = {{}} {name}.__index = {name}"),
            Init::Class(Some(parent)) => writeln!(
                text,
                "local {name} = setmetatable({{}}, {{ __index = k{parent} }}) \
                 {name}.__index = {name}"
            ),
            Init::Function(code, false) => writeln!(
                text,
                "local function {name}{}",
                function(&tag(module, &name), code, false)
            ),
            Init::Function(code, true) => {
                let _ = writeln!(
                    forward,
                    "function {name}{}",
                    function(&tag(module, &name), code, false)
                );
                writeln!(text, "local {name}")
            }
            Init::Choice(helper) => writeln!(text, "local {name} = h{helper}"),
        };
    }
    text.push_str(&forward);
    let mut subs = Vec::new();
    for slot in &version.slots {
        if let At::Sub(n) = slot.at
            && !subs.contains(&n)
        {
            subs.push(n);
            let _ = writeln!(text, "M.s{n} = {{}}");
        }
        let target = match slot.at {
            At::List => container(module, slot.at),
            at => place(module, at, slot.field),
        };
        let value = match &slot.content {
            Content::Scalar(value) => scalar(*value),
            Content::Table(value) => data(value),
            Content::Function(code) => {
                let method = matches!(slot.at, At::Local(Local::K(_)));
                format!("function{}", function(&tag(module, &target), code, method))
            }
            Content::Alias(key) => format!("M.f{key}"),
            Content::Ref(local) => local.name(),
            Content::Import(value) => import(*value),
        };
        let _ = writeln!(text, "{target} = {value}");
    }
    if matches!(version.style, Style::Returned | Style::KeptAndReturned) {
        text.push_str("return M\n");
    }
    text
}
