std = "lua54"
globals = { "gg" }
max_line_length = false -- scripts/width.lua checks it
-- Versions of modules to reload: with globals, and with errors, on purpose.
exclude_files = { "spec/fixtures", "build", "target", "lua_modules" }
files["spec"].std = "lua54+busted"
-- declarations have arguments and no bodies
files["lua/hotreload/meta.lua"].ignore = { "212", "241" }
-- a plugin of Prosody: its globals are its own
files["examples/prosody"] = { globals = { "module", "greeting" } }
-- the generated programs share these with it
files["tests/generated/harness.lua"] = { globals = { "T", "N", "V", "C", "REG", "H" } }
