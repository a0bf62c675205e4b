-- Monsters as closures: each has methods of its own, made by a factory. Nobody but the monster
-- itself holds them.

local monsters = {}

function monsters.new(strength)
  local bites = 0
  local monster = {}
  function monster.bite()
    bites = bites + 1
    return strength + bites
  end
  return monster
end

return monsters
