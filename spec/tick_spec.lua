-- examples/tick: a loop in which every reference follows in slices of a millisecond (R9.4), run for
-- real.

local program = require "spec.support.program"

describe("examples/tick", function()
  it("goes on ticking while closures that a factory made follow the new code", function()
    local pipe = assert(io.popen("timeout 120 " .. program.root .. "/examples/tick/run.sh 2>&1"))
    local out = pipe:read "a"
    assert.is_true((pipe:close()), out)
    assert.equal("before\t0\t3\nreloaded\ta new monster bites for 102\n"
      .. "swept\tall follow\tin several ticks: true\nafter\teach has its own count\n", out)
  end)
end)
