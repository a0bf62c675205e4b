/* A small `lua`, for the Luas that scripts/lua.sh builds from source.
 *
 *     lua FILE [ARGUMENT...]      runs a file in the Lua that the program is linked with
 *     lua --in LIBRARY FILE       runs it in the Lua of a library, which is this text as
 *                                 well, built with -DLIBRARY
 *
 * Exit status: 0; 1 with what FILE raised on stderr; 2 for the library's own troubles. */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "lua.h"
#include "lauxlib.h"
#include "lualib.h"

#ifdef __cplusplus
extern "C"
#endif
__attribute__((visibility("default"))) int run_file(int count, char **words);

/* Runs words[0]; the others are its arguments, and stand in the global `arg`. */
int run_file(int count, char **words) {
  lua_State *l = luaL_newstate();
  int failed, i;
  if (!l) return 1;
  luaL_openlibs(l);
  lua_createtable(l, count, 1);
  for (i = 0; i < count; i++) {
    lua_pushstring(l, words[i]);
    lua_rawseti(l, -2, i);
  }
  lua_setglobal(l, "arg");
  failed = luaL_loadfile(l, words[0]);
  if (!failed) {
    for (i = 1; i < count; i++) lua_pushstring(l, words[i]);
    failed = lua_pcall(l, count - 1, 0, 0);
  }
  if (failed) fprintf(stderr, "lua: %s\n", lua_tostring(l, -1));
  lua_close(l);
  return failed != 0;
}

#ifndef LIBRARY
int main(int argc, char **argv) {
  void *library;
  int (*run)(int, char **);
  if (argc < 2) return 2;
  if (strcmp(argv[1], "--in") != 0) return run_file(argc - 1, argv + 1);
  library = argc > 3 ? dlopen(argv[2], RTLD_NOW | RTLD_LOCAL) : NULL;
  if (!library) {
    fprintf(stderr, "lua: %s\n", argc > 3 ? dlerror() : "--in LIBRARY FILE");
    return 2;
  }
  *(void **)&run = dlsym(library, "run_file");
  return run ? run(argc - 3, argv + 3) : 2;
}
#endif
