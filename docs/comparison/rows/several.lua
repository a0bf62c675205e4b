-- Of several modules all are reloaded, or none.
local case = ...
case.write("formulas", "return { damage = function() return 1 end }")
case.write("battle", "return { hit = function() return 1 end }")
require "formulas"
require "battle"
case.write("formulas", "return { damage = function() return 2 end }")
case.write("battle", "return { hit = function() return 2 end") -- a brace is missing
case.reload { "formulas", "battle" }
return require "formulas".damage() == 1 and require "battle".hit() == 1
