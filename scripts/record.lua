#!/usr/bin/env lua5.4
-- Records examples/server while its code is edited under a playing client, as an animated SVG:
--
--   lua5.4 scripts/record.lua OUT.svg [PACE]
--
-- The server is run in a copy of its directory. This script plays on a connection, edits the
-- server's modules, and notes when each line arrives; the picture shows the lines at those times.
-- PACE scales the pauses between the steps (1 is for readers, 0 for tests). It needs a built
-- library and LuaSocket.

local socket = require "socket"

local out, pace = arg[1], tonumber(arg[2] or 1)
if not out or not pace then
  io.stderr:write "usage: lua5.4 scripts/record.lua OUT.svg [PACE]\n"
  os.exit(2)
end

local PATIENCE <const> = 20

----------------------------------------------------------------------------------------------------
-- The run

local began
local shown = { captions = {}, player = {}, server = {}, editor = {} } -- { text, class, at, till }

local function now() return socket.gettime() - began end

local function note(pane, text, class)
  local list = shown[pane]
  list[#list + 1] = { text = text, class = class, at = now() }
  return list[#list]
end

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "a"
  file:close()
  return text
end

local function output_of(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read "a"
  assert(pipe:close(), command)
  return text
end

local root = output_of("cd '" .. arg[0]:gsub("[^/]*$", "") .. "./..' && pwd"):match "[^\n]+"
local work = output_of "mktemp -d":match "[^\n]+"
local player, log
local partial = "" -- of the line that arrives from the server

--- What has arrived: one step of the recorder.
local function listen()
  player:settimeout(0.01)
  local line, _, rest = player:receive("*l", partial)
  partial = line and "" or rest
  if line then note("player", line) end
  for text in log:lines() do note("server", text, text:match "^not" or text:match "^reloaded") end
end

local function pause(seconds)
  local ends = now() + seconds * pace
  repeat listen() until now() >= ends
end

--- Listens until a pane has a line more than it had, or one that a pattern fits.
local function wait_for(pane, pattern)
  local list, deadline = shown[pane], now() + PATIENCE
  local known = #list
  repeat
    listen()
    assert(now() < deadline, "in vain: " .. pane .. ": " .. (pattern or "a line"))
  until list[known + 1] and list[#list].text:find(pattern or "")
end

local function say(line)
  note("player", "> " .. line, "said")
  assert(player:send(line .. "\n"))
  wait_for "player"
  pause(1.3)
end

local function caption(text)
  local list = shown.captions
  if list[1] then list[#list].till = now() end
  note("captions", text)
  pause(0.8)
end

--- The lines of battle.lua that the picture has: its state, a hit, and what the timer calls.
local function lines_of(text)
  local all, visible, is_visible = {}, {}, false
  for line in text:gmatch "([^\n]*)\n" do
    all[#all + 1] = line
    is_visible = is_visible or line:find "^local total" or line:find "^function battle.rested"
    if is_visible then visible[#visible + 1] = { number = #all, text = line } end
    if line == "end" and all[#all - 1]:find "send" then is_visible = false end
  end
  return visible
end

--- Notes the editor's lines that differ from those that it shows.
local function show_file(class)
  local list = shown.editor
  for row, line in ipairs(lines_of(read(work .. "/battle.lua"))) do
    local last = list[row]
    if not last or last.text ~= line.text then
      local entry = { text = line.text, number = line.number, class = class, at = now() }
      if last then last.till, entry.before = entry.at, last end
      list[row] = entry
    end
  end
end

--- Replaces texts in battle.lua, as an editor does: a new file is renamed to the old name.
local function edit(class, ...)
  local path = work .. "/battle.lua"
  local text = read(path)
  for i = 1, select("#", ...), 2 do
    local from, to = select(i, ...)
    local first, last = text:find(from, 1, true)
    assert(first, "not in battle.lua: " .. from)
    text = text:sub(1, first - 1) .. to .. text:sub(last + 1)
  end
  local file = assert(io.open(path .. ".new", "wb"))
  file:write(text)
  file:close()
  assert(os.rename(path .. ".new", path))
  show_file(class)
end

local function play()
  show_file()
  wait_for("server", "^listening")
  caption "A player logs in, hits a dummy, and lies down for a while."
  say "login ann"
  say "hit"
  say "hit"
  say "rest 6"

  caption "battle.lua is edited and saved. The connection, the damage and the timer stay."
  edit("changed", "return 10 +", "return 100 +", '"you get up, %s"', '"you get up, %s, stronger"')
  wait_for("player", "new rules")
  pause(2)
  say "hit"
  wait_for("player", "get up")
  pause(2)

  caption "battle.lua is saved with a mistake. Nothing changes, and the server plays on."
  edit("broken", "return 100 + account", "return 500 + (account")
  wait_for("server", "^not reloaded")
  pause(2)
  say "hit"

  caption "The mistake is corrected."
  edit("changed", "// 100", "// 100)")
  wait_for("player", "new rules")
  pause(1)
  say "hit"
  caption "One connection, one process, no restart."
  pause(3)
end

--- Runs the server for as long as `body` plays, and stops it, whatever happens.
local function with_server(body)
  assert(os.execute(("cp '%s'/examples/server/*.lua '%s'"):format(root, work)))
  local server = assert(io.popen(([[
    cd '%s' && LUA_PATH_5_4='./?.lua;%s/lua/?.lua;;' LUA_CPATH_5_4='%s/build/?.so;;' \
    exec timeout 120 '%s' main.lua 0 0 reload >log 2>&1]]):format(work, root, root,
    os.getenv "LUA" or "lua5.4")))
  local players, admins
  local deadline = socket.gettime() + PATIENCE
  repeat
    socket.sleep(0.02)
    assert(socket.gettime() < deadline, "the server does not start")
    local file = io.open(work .. "/log")
    local line = file and file:read "l" or ""
    if file then file:close() end
    players, admins = line:match "players on (%d+), admins on (%d+)"
  until players
  log, player = assert(io.open(work .. "/log")), assert(socket.connect("127.0.0.1", players))
  local admin = assert(socket.connect("127.0.0.1", admins))
  began = socket.gettime()
  local ok, message = xpcall(body, debug.traceback)
  assert(admin:send "stop\n")
  assert(server:close())
  assert(ok, message)
end

----------------------------------------------------------------------------------------------------
-- The picture

local FONT <const>, LINE <const>, COLUMN <const> = 13, 18, 7.83
local WIDTH <const>, GAP <const>, TITLE <const> = 860, 8, 26
local CODE_WIDTH <const>, FLASH <const> = 520, 2.5
local KEYWORDS = { ["local"] = true, ["function"] = true, ["return"] = true, ["end"] = true }

local STYLE = [[
svg{--back:#fff;--pane:#f6f8fa;--edge:#d0d7de;--text:#1f2328;--dim:#656d76;--key:#cf222e;
--string:#0a3069;--good:#116329;--bad:#a40e26;--changed:#aceebb;--broken:#ffcecb}
@media (prefers-color-scheme:dark){svg{--back:#0d1117;--pane:#161b22;--edge:#30363d;
--text:#e6edf3;--dim:#8d96a0;--key:#ff7b72;--string:#a5d6ff;--good:#56d364;--bad:#ff9492;
--changed:#12482a;--broken:#67221f}}
text{font:%dpx ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;
fill:var(--text);white-space:pre}
.captions{font:600 16px system-ui,-apple-system,"Segoe UI","Noto Sans",sans-serif}
.back{fill:var(--back)}.pane{fill:var(--pane);stroke:var(--edge)}.title,.dim{fill:var(--dim)}
.key{fill:var(--key)}.string{fill:var(--string)}.reloaded{fill:var(--good)}.not{fill:var(--bad)}
.said{font-weight:700}rect.changed{fill:var(--changed)}rect.broken{fill:var(--broken)}
@media (prefers-reduced-motion:reduce){*{animation:none!important}}]]

local function escaped(text)
  return (text:gsub("[&<>]", { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;" }))
end

--- A line of Lua with its keywords, texts and comments in colours; what is too long is cut.
local function colored(line)
  local most = (CODE_WIDTH - 60) // COLUMN
  if #line > most then line = line:sub(1, most - 1) .. "…" end
  local parts, at = {}, 1
  while at <= #line do
    local part, class = line:match("^%-%-.*", at), "dim"
    if not part then part, class = line:match('^"[^"]*"?', at), "string" end
    if not part then
      part = line:match("^[%a_][%w_]*", at) or line:match("^[^%a_\"-]+", at) or line:sub(at, at)
      class = KEYWORDS[part] and "key"
    end
    at = at + #part
    part = escaped(part)
    parts[#parts + 1] = class and ('<tspan class="%s">%s</tspan>'):format(class, part) or part
  end
  return table.concat(parts)
end

--- A text as lines of so many columns at most, broken at blanks.
local function wrapped(text, columns)
  local lines = {}
  while #text > columns do
    local last = text:sub(1, columns):match "^.*() " or columns
    lines[#lines + 1] = text:sub(1, last)
    text = text:sub(last + 1)
  end
  lines[#lines + 1] = text
  return lines
end

--- The elements of the picture, and the styles that show each from one time until another.
local function picture(duration)
  local parts, styles, known = {}, {}, {}

  --- The class of what is seen in that time. What is seen at the end stays in a still picture.
  local function seen(from, till)
    local first, last = from / duration * 100, (till or duration) / duration * 100
    local key = ("%.2f %.2f"):format(first, last)
    if not known[key] then
      local number, at_end = #styles + 1, till and 0 or 1
      known[key] = number
      styles[number] = (
        "@keyframes t%d{0%%{opacity:0}%.2f%%{opacity:1}%.2f%%{opacity:%d}}\n"
        .. ".t%d{opacity:%d;animation:t%d %.1fs step-end infinite}"
      ):format(number, first, last, at_end, number, at_end, number, duration)
    end
    return "t" .. known[key]
  end

  local function add(format, ...) parts[#parts + 1] = format:format(...) end

  local function pane(title, x, y, width, rows)
    local height = TITLE + rows * LINE + GAP
    add('<rect class="pane" x="%d" y="%d" width="%d" height="%d" rx="6"/>', x, y, width, height)
    add('<text class="title" x="%d" y="%d">%s</text>', x + 12, y + 19, title)
    return x + 12, y + TITLE + LINE - 4, y + height + GAP
  end

  local function write(x, y, class, entry, text)
    if text == "" then return end
    add('<text class="%s" x="%d" y="%d">%s</text>',
      (class and class .. " " or "") .. seen(entry.at, entry.till), x, y, text)
  end

  for _, entry in ipairs(shown.captions) do
    write(GAP + 4, 26, "captions", entry, escaped(entry.text))
  end

  local x, y, below = pane("battle.lua", GAP, 40, CODE_WIDTH, #shown.player)
  local last
  for row, line in ipairs(shown.editor) do
    if last and line.number ~= last + 1 then y = y + LINE / 2 end
    last = line.number
    local at, entry = y + (row - 1) * LINE, line
    add('<text class="dim" x="%d" y="%d">%2d</text>', x, at, line.number)
    while entry do
      if entry.class then
        local ends = entry.class == "changed" and entry.at + FLASH or entry.till
        add('<rect class="%s %s" x="%d" y="%d" width="%d" height="%d"/>', entry.class,
          seen(entry.at, math.min(ends, entry.till or ends)), x + 26, at - 13, CODE_WIDTH - 50,
          LINE)
      end
      write(x + 30, at, nil, entry, colored(entry.text))
      entry = entry.before
    end
  end

  x, y = pane("a player's connection", CODE_WIDTH + 2 * GAP, 40, WIDTH - CODE_WIDTH - 3 * GAP,
    #shown.player)
  for row, entry in ipairs(shown.player) do
    write(x, y + (row - 1) * LINE, entry.class, entry, escaped(entry.text))
  end

  local lines, columns = {}, (WIDTH - 2 * GAP - 24) // COLUMN
  for _, entry in ipairs(shown.server) do
    for _, text in ipairs(wrapped(entry.text, columns)) do lines[#lines + 1] = { entry, text } end
  end
  x, y, below = pane("the server", GAP, below, WIDTH - 2 * GAP, #lines)
  for row, line in ipairs(lines) do
    write(x, y + (row - 1) * LINE, line[1].class, line[1], escaped(line[2]))
  end

  return table.concat({
    ('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d">')
      :format(WIDTH, below, WIDTH, below),
    "<title>A Lua server that is edited while a player plays on it</title>",
    "<style>", STYLE:format(FONT), table.concat(styles, "\n"), "</style>",
    ('<rect class="back" width="%d" height="%d" rx="6"/>'):format(WIDTH, below),
    table.concat(parts, "\n"), "</svg>", "",
  }, "\n")
end

local ok, message = xpcall(with_server, debug.traceback, play)
local duration = now()
os.execute("rm -rf '" .. work .. "'")
assert(ok, message)
local file = assert(io.open(out, "wb"))
file:write(picture(duration))
file:close()
