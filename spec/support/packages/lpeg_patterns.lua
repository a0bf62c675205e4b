-- lpeg_patterns: grammars of URIs, mail addresses and HTTP, built when their modules are loaded.

return {
  debian = "lua-lpeg-patterns",

  use = function()
    local uri, IPv4, IPv6 = require "lpeg_patterns.uri", require "lpeg_patterns.IPv4",
      require "lpeg_patterns.IPv6"
    local found = uri.uri:match "http://me@host.example:80/a%20b?c#d"
    local address = IPv4.IPv4address:match "127.0.0.1"
    local phone = require "lpeg_patterns.phone".phone
    return table.concat({ found.scheme, found.host, tostring(found.port), found.path, found.query,
      found.fragment, tostring(address), tostring(IPv6.IPv6address:match "fe80::1"),
      tostring(phone:match "+1 (555) 123-4567"),
      tostring((require "lpeg_patterns.email".email:match "a.b@c.example")),
      tostring(require "lpeg_patterns.language".Language_Tag:match "de-AT" ~= nil) }, "|")
  end,

  objects = function()
    local four, six = require "lpeg_patterns.IPv4".IPv4address,
      require "lpeg_patterns.IPv6".IPv6address
    local a, b = four:match "10.1.2.3", six:match "::1"
    return function()
      return tostring(a) .. tostring(b) .. a:unpack() .. b:unpack() .. a:binary():byte(2)
    end
  end,
}
