-- README.md: what it shows is run (spec/support/document.lua says how), what it names exists.

local document = require "spec.support.document"

local read = document.read
local readme = read "README.md"

document.specs("README.md", _ENV)

describe("README.md", function()
  it("has at most 250 lines", function()
    local _, lines = readme:gsub("\n", "")
    assert.is_true(lines <= 250, lines)
  end)

  it("names the two commands of a fresh machine before all others but those of \z
    an installation", function()
    assert.is_truthy(readme:find("\n## Install\n.*\nmake demo\nmake test\n.*\n## Quick start\n"))
  end)

  it("asks for the Rust that Cargo.toml asks for", function()
    local version = read "Cargo.toml":match '\nrust%-version = "([%d.]+)"'
    assert.are.equal(version, readme:match "%[Rust%]%(%S+%) ([%d.]+) or later")
  end)
end)

describe("CONTRIBUTING.md", function()
  it("names each target of the Makefile, and no other", function()
    local named, targets = { help = true, install = true }, {}
    for target in read "CONTRIBUTING.md":gmatch "\n| `make ([%l-]+)`" do
      named[target] = true
    end
    for target in read "Makefile":gmatch "\n([%l-]+):" do
      targets[target] = true
    end
    assert.are.same(targets, named)
  end)
end)
