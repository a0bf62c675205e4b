/* A host with many threads and many Lua states, each of which loads the built library with
 * `require`.
 *
 *     hosts LIBRARY THREADS STATES ALIVE
 *
 * LIBRARY is a template for package.cpath. ALIVE states at most are open at a time. A state takes
 * its steps (open, reload, sweep, let a hook wait, undo, close…) on whichever thread is free: they
 * move between threads all the time. Some are closed in the middle: while a sweep is paused, while
 * a hook waits. With ALIVE = 1 the library is unloaded with each state, and loaded anew by the
 * next.
 *
 * Every state has a module text of its own, and every step checks that it runs that and no other.
 * When a state is closed its allocator must hold nothing. The second half of the states must not
 * leave the process with more memory in use than the first half did. Exit status 0: all that held.
 * The last line has the figures. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

/* What all states do; `...` is the state's number. Each step is a function; one that returns true
 * ends the state early. */
static const char script[] =
    "local id = ...\n"
    "local function text(version, hook)\n"
    "  return ([[local count, list = 0, {}\n"
    "  local M = { rows = {} }\n"
    "  function M.who() count = count + 1 return ID, VERSION, count end\n"
    "  function M.new(x) return function() x = x + 1 return ID, VERSION, x end end\n"
    "  function M.keep(f) list[#list + 1] = f return #list end\n"
    "  HOOK\n"
    "  return M]]):gsub('%u%u+',\n"
    "    { ID = tostring(id), VERSION = tostring(version), HOOK = hook or '' })\n"
    "end\n"
    "local hotreload, m, held, count, waiting, thread\n"
    "local function check(version)\n"
    "  count = count + 1\n"
    "  local is, v, c = m.who()\n"
    "  if is ~= id or v ~= version or c ~= count then\n"
    "    error(('state %d, version %d, count %d: found %s, %s, %s')\n"
    "      :format(id, version, count, is, v, c))\n"
    "  end\n"
    "  if not collectgarbage 'isrunning' then error 'the collector is stopped' end\n"
    "end\n"
    "local function must(done, report)\n"
    "  if not done then error('state ' .. id .. ': ' .. tostring(report)) end\n"
    "  return report\n"
    "end\n"
    "return {\n"
    "  function()\n" /* loads library and module */
    "    hotreload = require 'hotreload'\n"
    "    package.preload.m = load(text(1), '@m' .. id)\n"
    "    m, count = require 'm', 0\n"
    "    package.preload.m = nil\n"
    "    held = { m.who, m.new(id), [m.new] = 'key' }\n"
    "    thread = coroutine.create(function(f) coroutine.yield() return f() end)\n"
    "    coroutine.resume(thread, m.who)\n"
    "    check(1)\n"
    "  end,\n"
    "  function()\n" /* scope "module"; refused and failing ones */
    "    must(gg.reload('m', { source = text(2) }))\n"
    "    check(2)\n"
    "    local done, message = gg.reload('m',\n"
    "      { source = 'who = nil error(\"state ' .. id .. '\")' })\n"
    "    if done or not message:find('state ' .. id, 1, true) then error 'not refused' end\n"
    "    check(2)\n"
    "    if select(2, held[2]()) ~= 1 then error 'an old closure has new code' end\n"
    "  end,\n"
    "  function()\n" /* scope "vm" */
    "    held[1], held[2] = m.who, m.new(id)\n"
    "    must(gg.reload('m', { source = text(3), scope = 'vm' }))\n"
    "    check(3)\n"
    "    local is, v, x = held[2]()\n"
    "    if is ~= id or v ~= 3 or x ~= id + 1 or held[1] ~= m.who then\n"
    "      error 'references do not follow'\n"
    "    end\n"
    "  end,\n"
    "  function()\n" /* the beginning of a sweep */
    "    held.deep = {}\n"
    "    for i = 1, 300 do held.deep[i] = { m.who, { m.new(i) } } end\n"
    "    must(gg.reload('m', { source = text(4), scope = 'vm', budget_ms = 1 }))\n"
    "    check(4)\n"
    "    local done, progress = hotreload.sweep(0.001)\n"
    "    if done == nil then error(progress) end\n"
    "    return id % 7 == 3\n"
    "  end,\n"
    "  function()\n" /* a slice of it */
    "    held.deep[#held.deep + 1] = { m.who, { m.new(0) } }\n"
    "    local done, progress = hotreload.sweep(0.01)\n"
    "    if done == nil then error(progress) end\n"
    "    check(4)\n"
    "    return id % 7 == 5\n"
    "  end,\n"
    "  function()\n" /* its end */
    "    repeat local done = hotreload.sweep() until done\n"
    "    for i = 1, 300 do\n"
    "      local is, v = held.deep[i][2][1]()\n"
    "      if is ~= id or v ~= 4 or held.deep[i][1] ~= m.who then\n"
    "        error 'the sweep left something'\n"
    "      end\n"
    "    end\n"
    "    check(4)\n"
    "  end,\n"
    "  function()\n" /* a hook that waits */
    "    waiting = coroutine.create(gg.reload)\n"
    "    local hook = 'function M.__hotfix() coroutine.yield \"waits\" \\z\n"
    "      if VERSION == 6 then error \"hook\" end end'\n"
    "    local version = id % 2 == 0 and 5 or 6\n"
    "    local resumed, what = coroutine.resume(waiting, 'm',\n"
    "      { source = text(version, hook:gsub('VERSION', version)) })\n"
    "    if not resumed or what ~= 'waits' then error(tostring(what)) end\n"
    "    check(version)\n"
    "    return id % 11 == 4\n"
    "  end,\n"
    "  function()\n" /* it goes on, and raises in every other state, or its coroutine is closed */
    "    if id % 5 == 0 then\n"
    "      if not coroutine.close(waiting) then error 'not closed' end\n"
    "      check(4)\n"
    "      must(gg.reload('m', { source = text(5) }))\n"
    "    else\n"
    "      local _, done, message = coroutine.resume(waiting)\n"
    "      if id % 2 == 0 then must(done, message)\n"
    "      else\n"
    "        if done or not message:find 'undone' then error 'not undone' end\n"
    "        check(4)\n"
    "        must(gg.reload('m', { source = text(5) }))\n"
    "      end\n"
    "    end\n"
    "    check(5)\n"
    "  end,\n"
    "  function()\n" /* undo, and what is old */
    "    must(hotreload.undo 'm')\n"
    "    check(4)\n"
    "    local old, why = hotreload.stale()\n"
    "    if not old then error(why) end\n"
    "    local names, problems = hotreload.changed()\n"
    "    if names[1] or not problems.m:find 'not found' then error 'a module without a file' end\n"
    "    must(gg.reload('m', { source = text(7), dry_run = true }))\n"
    "    check(4)\n"
    "    if id % 3 == 0 then\n"
    "      setmetatable({}, { __gc = function() gg.reload('m', { source = text(8) }) end })\n"
    "    end\n"
    "  end,\n"
    "}\n";

/* One state, and how far it has come. */
typedef struct Host {
  lua_State *l;
  int id, step;
  size_t held; /* bytes */
  struct Host *next;
} Host;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static Host *first, *last;   /* states that wait for a thread */
static int alive, opened, closed, failures, early;
static int states, most_alive;
static int until;            /* no state beyond this one is opened yet */
static long steps, moves;
static const char *library;

static void *allocate(void *ud, void *block, size_t old, size_t size) {
  Host *host = ud;
  size_t was = block ? old : 0;
  void *now;
  if (size == 0) {
    free(block);
    host->held -= was;
    return NULL;
  }
  now = realloc(block, size);
  if (now) host->held += size - was;
  return now;
}

static void failed(const Host *host, const char *what) {
  pthread_mutex_lock(&lock);
  if (failures++ < 10) fprintf(stderr, "state %d, step %d: %s\n", host->id, host->step, what);
  pthread_mutex_unlock(&lock);
}

static int open_state(Host *host) {
  lua_State *l = lua_newstate(allocate, host);
  if (!l) return 0;
  host->l = l;
  luaL_openlibs(l);
  lua_getglobal(l, "package");
  lua_pushstring(l, library);
  lua_setfield(l, -2, "cpath");
  lua_pushstring(l, "");
  lua_setfield(l, -2, "path");
  lua_settop(l, 0);
  if (luaL_loadbufferx(l, script, sizeof script - 1, "=hosts", "t") != LUA_OK) return 0;
  lua_pushinteger(l, host->id);
  return lua_pcall(l, 1, 1, 0) == LUA_OK; /* the list of steps stays on the stack */
}

/* Takes the next step; returns whether the state is to be closed. */
static int take_step(Host *host) {
  lua_State *l;
  void *ud;
  int over;
  if (!host->l && !open_state(host)) {
    failed(host, host->l ? lua_tostring(host->l, -1) : "not opened");
    return 1;
  }
  l = host->l;
  if (lua_rawgeti(l, 1, ++host->step) != LUA_TFUNCTION) return 1;
  if (lua_pcall(l, 0, 1, 0) != LUA_OK) {
    failed(host, lua_tostring(l, -1));
    return 1;
  }
  over = lua_toboolean(l, -1);
  lua_settop(l, 1);
  if (lua_getallocf(l, &ud) != allocate || ud != host) failed(host, "another allocator");
  if (lua_gc(l, LUA_GCISRUNNING) != 1) failed(host, "the collector is stopped");
  if (over) {
    pthread_mutex_lock(&lock);
    early++;
    pthread_mutex_unlock(&lock);
  }
  return over;
}

static void close_state(Host *host) {
  if (host->l) lua_close(host->l);
  if (host->held != 0) failed(host, "bytes are left");
  free(host);
}

static void *work(void *unused) {
  (void)unused;
  Host *mine = NULL; /* the state of the last step: to see it move */
  pthread_mutex_lock(&lock);
  for (;;) {
    Host *host = NULL;
    if (opened < until && alive < most_alive) {
      host = calloc(1, sizeof *host);
      if (!host) abort();
      host->id = ++opened;
      alive++;
    } else if (first) {
      host = first;
      first = host->next;
      if (!first) last = NULL;
      moves += host != mine;
    } else if (closed == until) {
      break;
    } else {
      pthread_cond_wait(&changed, &lock);
      continue;
    }
    pthread_mutex_unlock(&lock);
    mine = host;
    int over = take_step(host);
    if (over) close_state(host);
    pthread_mutex_lock(&lock);
    steps++;
    if (over) {
      alive--;
      closed++;
    } else {
      host->next = NULL;
      if (last) last->next = host; else first = host;
      last = host;
    }
    pthread_cond_broadcast(&changed);
  }
  pthread_mutex_unlock(&lock);
  return NULL;
}

/* Opens and closes states up to a number, with threads of their own. */
static void run(int threads, int up_to) {
  pthread_t *ids = calloc((size_t)threads, sizeof *ids);
  if (!ids) abort();
  until = up_to;
  for (int i = 0; i < threads; i++)
    if (pthread_create(&ids[i], NULL, work, NULL) != 0) abort();
  for (int i = 0; i < threads; i++) pthread_join(ids[i], NULL);
  free(ids);
}

/* Bytes in use, and pages in memory in KiB, once what is free was given back. */
static size_t in_use(long *resident) {
  long pages = 0, total = 0;
  FILE *file;
  malloc_trim(0);
  file = fopen("/proc/self/statm", "r");
  if (file) {
    if (fscanf(file, "%ld %ld", &total, &pages) != 2) pages = 0;
    fclose(file);
  }
  *resident = pages * (sysconf(_SC_PAGESIZE) / 1024);
  return mallinfo2().uordblks + mallinfo2().hblkhd;
}

int main(int argc, char **argv) {
  long resident[3];
  size_t use[3];
  int threads, loaded;
  char path[4096];
  if (argc != 5) {
    fprintf(stderr, "usage: hosts LIBRARY THREADS STATES ALIVE\n");
    return 2;
  }
  library = argv[1];
  threads = atoi(argv[2]), states = atoi(argv[3]), most_alive = atoi(argv[4]);
  /* What a process allocates once is there after a tenth. */
  run(threads, states / 10);
  use[0] = in_use(&resident[0]);
  run(threads, states / 10 + (states - states / 10) / 2);
  use[1] = in_use(&resident[1]);
  run(threads, states);
  use[2] = in_use(&resident[2]);
  {
    const char *mark = strchr(library, '?');
    snprintf(path, sizeof path, "%.*shotreload%s", (int)(mark ? mark - library : 0), library,
             mark ? mark + 1 : "");
    loaded = dlopen(path, RTLD_NOW | RTLD_NOLOAD) != NULL;
  }
  printf("%d states on %d threads, %d at a time: %ld steps, %ld moves, %d closed early, %d failed; "
         "in use %zu, %zu, %zu bytes; resident %ld, %ld, %ld KiB; library %s\n",
         closed, threads, most_alive, steps, moves, early, failures, use[0], use[1], use[2],
         resident[0], resident[1], resident[2], loaded ? "still loaded" : "unloaded");
  if (closed != states) return 1;
  /* Less than a word for each state: the allocator's own lists differ from run to run. */
  if (use[2] > use[1] + 16384) {
    fprintf(stderr, "memory in use grows: %zu bytes, then %zu\n", use[1], use[2]);
    return 1;
  }
  return failures != 0;
}
