-- Who holds the module's table calls the new functions.
local case = ...
case.write("shop", "return { price = function() return 100 end }")
local shop = require "shop"
case.write("shop", [[
  return { price = function() return 80 end, name = function() return "shop" end }
]])
case.reload "shop"
return shop.price() == 80 and shop.name() == "shop" and require "shop" == shop
