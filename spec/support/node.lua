--- A host for specs: services that take turns, and a clock that nobody has to wait for.
--
--    local node = require "spec.support.node".new()
--    node:service(title, agent)   agent(request) returns an answer; may call node:sleep(seconds),
--                                 and raise where the service dies; returns the address
--    node.log                     what was asked: "op title"
--    node:run(f, ...)             runs f as a service does; returns what it returns
--    node:spawn(f)                runs f beside it
--    node.transport               for a coordinator
--    node.most                    how many were asked at a time
local Node = {}
Node.__index = Node

local M = {}

function M.new()
  local node = setmetatable({ services = {}, log = {}, clock = 0, waiting = {}, most = 0,
    asked = 0 }, Node)
  node.transport = {
    now = function() return node.clock end,
    list = function()
      local list = {}
      for address, service in pairs(node.services) do
        list[#list + 1] = { address = address, title = service.title }
      end
      table.sort(list, function(a, b) return a.address < b.address end)
      return list
    end,
    ask = function(address, seconds, request) return node:ask(address, seconds, request) end,
    all = function(functions)
      local left = #functions
      for _, f in ipairs(functions) do
        node:spawn(function()
          f()
          left = left - 1
        end)
      end
      while left > 0 do node:sleep(0.001) end
    end,
  }
  return node
end

function Node:service(title, agent)
  self.last = (self.last or 0) + 1
  self.services[self.last] = { title = title, agent = agent }
  return self.last
end

--- Lets the others run, for so many seconds of the clock.
function Node:sleep(seconds)
  coroutine.yield(self.clock + seconds)
end

function Node:spawn(f)
  table.insert(self.waiting, { coroutine.create(f), self.clock })
end

--- Runs all that is ready; the clock jumps to what is ready next.
function Node:run(f, ...)
  local result
  local arguments = table.pack(...)
  self:spawn(function() result = table.pack(f(table.unpack(arguments, 1, arguments.n))) end)
  while not result do
    local first
    for i, one in ipairs(self.waiting) do
      if not first or one[2] < self.waiting[first][2] then first = i end
    end
    local one = table.remove(self.waiting, first)
    self.clock = math.max(self.clock, one[2])
    local ok, at = coroutine.resume(one[1])
    if not ok then error(debug.traceback(one[1], at), 0) end
    if coroutine.status(one[1]) == "suspended" then
      table.insert(self.waiting, { one[1], at })
    end
  end
  return table.unpack(result, 1, result.n)
end

function Node:ask(address, seconds, request)
  local service = self.services[address]
  if not service then return nil, "it has ended" end
  table.insert(self.log, request.op .. " " .. service.title)
  self.asked = self.asked + 1
  self.most = math.max(self.most, self.asked)
  local done, ok, answer = false, nil, nil
  self:spawn(function()
    self:sleep(0.001)
    ok, answer = pcall(service.agent, request)
    done = true
  end)
  local over = self.clock + seconds
  while not done and self.clock < over do self:sleep(0.001) end
  self.asked = self.asked - 1
  if not done then return nil, "it did not answer" end
  if not ok then
    self.services[address] = nil
    return nil, "it has ended"
  end
  return answer
end

return M
