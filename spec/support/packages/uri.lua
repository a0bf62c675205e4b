-- lua-uri: a class for each scheme, loaded by name when it is met.

return {
  debian = "lua-uri",

  use = function()
    local URI = require "uri"
    local uri = assert(URI:new "HTTP://Example.COM:8080/a/./b/../c?q=1#frag")
    local relative = assert(URI:new("../x?y", "http://host/a/b/c"))
    local data = assert(URI:new "data:,Hello%20you")
    local isbn = assert(URI:new "urn:isbn:0-395-36341-1")
    local bad, message = URI:new "http://host:port:port/"
    local file = assert(URI:new "file:///etc/fstab")
    return table.concat({ tostring(uri), uri:host(), tostring(uri:port()), uri:path(),
      tostring(relative),
      data:data_bytes(),
      tostring(isbn), tostring(bad), tostring(message), file:filesystem_path "unix",
        tostring(uri == URI:new(tostring(uri))) }, "|")
  end,

  objects = function()
    local URI = require "uri"
    local uri, ftp = assert(URI:new "http://host/path"), assert(URI:new "ftp://me@there/dir;type=i")
    return function()
      uri:query "a=b"
      local with = tostring(uri)
      uri:query(nil)
      return with .. tostring(uri) .. ftp:username() .. tostring(ftp:ftp_typecode())
        .. tostring(uri:default_port())
    end
  end,
}
