-- LuaSocket: its modules in Lua around a core in C; a whole HTTP request against a socket that is
-- none.

local function fake()
  local answer = { "HTTP/1.1 200 OK", "Content-Type: text/plain", "Transfer-Encoding: chunked", "",
    "5", "hello", "", "0", "" }
  local sent, at = {}, 0
  local connection = {}
  function connection.send(_, data)
    sent[#sent + 1] = data
    return #data
  end
  function connection.receive()
    at = at + 1
    if not answer[at] then return nil, "closed" end
    return answer[at]
  end
  function connection.settimeout() return 1 end
  function connection.connect() return 1 end
  function connection.close() return 1 end
  function connection.getfd() return -1 end
  function connection.dirty() return false end
  return connection, sent
end

return {
  debian = "lua-socket",

  use = function()
    local url, ltn12, mime, http = require "socket.url", require "ltn12", require "mime",
      require "socket.http"
    local parsed = url.parse "http://user:pw@host:81/a/b;p?q=1#f"
    local sink, chunks = ltn12.sink.table()
    ltn12.pump.all(ltn12.source.string "The quick brown fox\r\n=1",
      ltn12.sink.chain(ltn12.filter.chain(mime.encode "quoted-printable",
        mime.wrap "quoted-printable"), sink))
    local connection, sent = fake()
    local body, bodies = ltn12.sink.table()
    local _, code, headers = http.request { url = "http://host.invalid/x",
      create = function() return connection end,
      sink = body }
    return table.concat { parsed.host, parsed.port, parsed.query, url.build(parsed),
      url.absolute("http://a/b/c",
      "../d"),
      url.escape "a b", table.concat(chunks), mime.b64 "text", mime.unb64 "dGV4dA==",
      tostring(code),
        tostring(headers and headers["content-type"]),
      table.concat(bodies), table.concat(sent):match "^[^\r]*" }
  end,

  objects = function()
    local ltn12, mime, url = require "ltn12", require "mime", require "socket.url"
    local encode = mime.encode "base64"
    local cycle = ltn12.filter.cycle(mime.eol, 0, "\r\n")
    local source = ltn12.source.cat(ltn12.source.string "a", ltn12.source.string "b")
    local simple = ltn12.source.simplify
    return function()
      return encode "abc" .. cycle "x\ny" .. type(source) .. type(simple(ltn12.source.empty()))
        .. url.unescape "%41"
    end
  end,
}
