-- README.md: what it shows is run (spec/support/document.lua says how), what it names exists.

local document = require "spec.support.document"

local read = document.read
local readme = read "README.md"

document.specs("README.md", _ENV)

describe("README.md", function()
  it("names each target of the Makefile, and no other", function()
    local named, targets = { help = true, install = true }, {}
    for target in readme:gmatch "`make ([%l-]+)`" do
      named[target] = true
    end
    for target in read "Makefile":gmatch "\n([%l-]+):" do
      targets[target] = true
    end
    assert.are.same(targets, named)
  end)

  it("asks for the Rust that Cargo.toml asks for", function()
    local version = read "Cargo.toml":match '\nrust%-version = "([%d.]+)"'
    assert.are.equal(version, readme:match "%[Rust%]%(%S+%) ([%d.]+) or later")
  end)

  it("names the options that the library's types declare", function()
    local named, declared = {}, {}
    for name in readme:match "\n## Options\n(.-)\n## ":gmatch "\n| `([%w_]+)`" do
      named[name] = true
    end
    for name in read "lua/hotreload/meta.lua":match "@class hotreload%.Options\n(.-)\n\n":gmatch "@field ([%w_]+)" do
      declared[name] = true
    end
    assert.are.same(declared, named)
  end)
end)
