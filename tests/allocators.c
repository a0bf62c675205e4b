/* C modules that do with the state's allocator what a C library may do. (One file, built under
 * several names.)
 *
 * taker: asks Lua for the allocator when it is opened, keeps it, and makes blocks with it whenever
 * it likes: in a call, in a finalizer, and when the system unloads it.
 * late: the same, from the first call of `take` on.
 * keeper: the same, and it is never unloaded. `install` makes an allocator of its own that forwards
 * to what it has taken.
 * forwarder: installs that when it is opened. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

typedef struct Allocator {
  lua_Alloc f;
  void *ud;
} Allocator;

static Allocator taken;
static void *kept; /* a block until the library is unloaded */
static long calls;

static int take(lua_State *l) {
  void *ud;
  lua_Alloc f = lua_getallocf(l, &ud);
  if (!taken.f) {
    taken.f = f, taken.ud = ud;
    kept = f(ud, NULL, 0, 100);
    memset(kept, 1, 100);
  }
  lua_pushfstring(l, "%p %p", (void *)(uintptr_t)f, ud);
  return 1;
}

static void __attribute__((destructor)) unload(void) {
  if (kept && calls == 0) taken.f(taken.ud, kept, 100, 0);
  kept = NULL;
}

/* As Lua does: new, larger, smaller, gone. */
static int use(lua_State *l) {
  size_t sizes[] = {24, 4000, 17};
  size_t old = 0;
  void *block = NULL;
  for (int i = 0; i < 3; i++) {
    block = taken.f(taken.ud, block, old, sizes[i]);
    if (!block) return luaL_error(l, "no block");
    old = sizes[i];
    memset(block, i, old);
  }
  taken.f(taken.ud, block, old, 0);
  lua_pushboolean(l, 1);
  return 1;
}

static int free_box(lua_State *l) {
  void **box = lua_touserdata(l, 1);
  if (*box) taken.f(taken.ud, *box, 64, 0);
  *box = NULL;
  return 0;
}

/* A userdata whose finalizer calls the allocator. */
static int box(lua_State *l) {
  void **box = lua_newuserdatauv(l, sizeof *box, 0);
  *box = taken.f(taken.ud, NULL, 0, 64);
  lua_createtable(l, 0, 1);
  lua_pushcfunction(l, free_box);
  lua_setfield(l, -2, "__gc");
  lua_setmetatable(l, -2);
  return 1;
}

static void *forward(void *ud, void *block, size_t old, size_t size) {
  Allocator *behind = ud;
  calls++;
  return behind->f(behind->ud, block, old, size);
}

static int install(lua_State *l) {
  lua_setallocf(l, forward, &taken);
  return 0;
}

static int is_in_place(lua_State *l) {
  void *ud;
  lua_pushboolean(l, lua_getallocf(l, &ud) == forward && ud == &taken);
  return 1;
}

static int count(lua_State *l) {
  lua_pushinteger(l, calls);
  return 1;
}

static const luaL_Reg functions[] = {
    {"take", take}, {"use", use}, {"box", box}, {"install", install},
    {"is_in_place", is_in_place}, {"calls", count}, {NULL, NULL},
};

int luaopen_taker(lua_State *l) {
  take(l);
  luaL_newlib(l, functions);
  return 1;
}

int luaopen_forwarder(lua_State *l) {
  take(l);
  install(l);
  luaL_newlib(l, functions);
  return 1;
}

int luaopen_late(lua_State *l) {
  luaL_newlib(l, functions);
  return 1;
}

int luaopen_keeper(lua_State *l) {
  return luaopen_late(l);
}
