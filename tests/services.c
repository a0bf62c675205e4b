/* A host as skynet is one: services with a Lua state each, which threads run in turn.
 *
 *     services SCRIPT THREADS STATES
 *
 * Each state runs SCRIPT with the table `host` and its number; the function that the script returns
 * gets the messages: handle(from, text). The first state ends the program by host.exit.
 *
 * host.send(to, text), host.now(), host.pause(), host.states(), host.exit(status);
 * host.cached(path) returns what host.cache(path, text) was given last, in any state; host.clear()
 * forgets all of it. host.kill(number) ends a state; host.start() starts one more, and returns its
 * number. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

enum { MOST = 4096 };

typedef struct Message {
  struct Message *next;
  int from;
  size_t size;
  char text[];
} Message;

typedef struct {
  lua_State *l;
  Message *first, **last;
  int queued, gone;
} Service;

typedef struct Cached {
  struct Cached *next;
  size_t size;
  char *path, *text;
} Cached;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static Service services[MOST];
static int count, ready[MOST + 1], head, tail, status = -1;
static Cached *cache;
static const char *script;

static int start(void);

/* With the lock: a service that has messages waits for a thread once. */
static void enqueue(int number) {
  Service *s = &services[number];
  if (s->queued || !s->first || s->gone) return;
  s->queued = 1;
  ready[tail] = number;
  tail = (tail + 1) % (MOST + 1);
  pthread_cond_signal(&changed);
}

static int self(lua_State *l) { return (int)lua_tointeger(l, lua_upvalueindex(1)); }

static int host_send(lua_State *l) {
  size_t size;
  int to = (int)luaL_checkinteger(l, 1), there;
  const char *text = luaL_checklstring(l, 2, &size);
  Message *m = malloc(sizeof *m + size);
  if (!m) return luaL_error(l, "not enough memory");
  m->next = NULL, m->from = self(l), m->size = size;
  memcpy(m->text, text, size);
  pthread_mutex_lock(&lock);
  there = to >= 1 && to <= count && !services[to].gone && !services[self(l)].gone;
  if (there) {
    *services[to].last = m;
    services[to].last = &m->next;
    enqueue(to);
  }
  pthread_mutex_unlock(&lock);
  if (!there) free(m);
  lua_pushboolean(l, there);
  return 1;
}

static int host_now(lua_State *l) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  lua_pushnumber(l, (lua_Number)t.tv_sec + (lua_Number)t.tv_nsec / 1e9);
  return 1;
}

/* Lets others have the thread: a millisecond. */
static int host_pause(lua_State *l) {
  struct timespec t = {0, 1000000};
  (void)l;
  nanosleep(&t, NULL);
  return 0;
}

static int host_states(lua_State *l) {
  lua_newtable(l);
  pthread_mutex_lock(&lock);
  for (int i = 1, n = 0; i <= count; i++)
    if (!services[i].gone) {
      lua_pushinteger(l, i);
      lua_rawseti(l, -2, ++n);
    }
  pthread_mutex_unlock(&lock);
  return 1;
}

static int host_exit(lua_State *l) {
  pthread_mutex_lock(&lock);
  status = (int)luaL_checkinteger(l, 1);
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&lock);
  return 0;
}

static int host_kill(lua_State *l) {
  int number = (int)luaL_checkinteger(l, 1);
  pthread_mutex_lock(&lock);
  if (number >= 1 && number <= count) services[number].gone = 1;
  pthread_mutex_unlock(&lock);
  return 0;
}

static int host_start(lua_State *l) {
  lua_pushinteger(l, start());
  return 1;
}

static int host_cached(lua_State *l) {
  const char *path = luaL_checkstring(l, 1);
  Cached *c;
  pthread_mutex_lock(&lock);
  for (c = cache; c && strcmp(c->path, path) != 0; c = c->next) continue;
  if (c) lua_pushlstring(l, c->text, c->size);
  pthread_mutex_unlock(&lock);
  return c != NULL;
}

static int host_cache(lua_State *l) {
  const char *path = luaL_checkstring(l, 1);
  size_t size;
  const char *text = luaL_checklstring(l, 2, &size);
  Cached *c = malloc(sizeof *c);
  if (!c) return luaL_error(l, "not enough memory");
  c->path = strdup(path), c->text = malloc(size), c->size = size;
  if (!c->path || !c->text) abort();
  memcpy(c->text, text, size);
  pthread_mutex_lock(&lock);
  c->next = cache, cache = c;
  pthread_mutex_unlock(&lock);
  return 0;
}

/* What other states still read is left to the end of the process. */
static int host_clear(lua_State *l) {
  (void)l;
  pthread_mutex_lock(&lock);
  cache = NULL;
  pthread_mutex_unlock(&lock);
  return 0;
}

static const luaL_Reg functions[] = {
    {"send", host_send},   {"now", host_now},       {"states", host_states},
    {"exit", host_exit},   {"kill", host_kill},     {"start", host_start},
    {"cache", host_cache}, {"cached", host_cached}, {"clear", host_clear},
    {"pause", host_pause}, {NULL, NULL}};

static int start(void) {
  lua_State *l = luaL_newstate();
  int number;
  if (!l) abort();
  luaL_openlibs(l);
  pthread_mutex_lock(&lock);
  number = count + 1;
  if (number >= MOST) abort();
  services[number].l = l;
  services[number].last = &services[number].first;
  services[number].gone = 1; /* until it is there */
  count = number;
  pthread_mutex_unlock(&lock);
  luaL_newlibtable(l, functions);
  lua_pushinteger(l, number);
  luaL_setfuncs(l, functions, 1);
  if (luaL_loadfile(l, script) != LUA_OK) goto failed;
  lua_insert(l, 1);
  lua_pushinteger(l, number);
  if (lua_pcall(l, 2, 1, 0) != LUA_OK) goto failed;
  pthread_mutex_lock(&lock);
  services[number].gone = 0;
  pthread_mutex_unlock(&lock);
  return number;
failed:
  fprintf(stderr, "service %d: %s\n", number, lua_tostring(l, -1));
  exit(2);
}

static void *work(void *unused) {
  (void)unused;
  pthread_mutex_lock(&lock);
  while (status < 0) {
    if (head == tail) {
      pthread_cond_wait(&changed, &lock);
      continue;
    }
    int number = ready[head];
    Service *s = &services[number];
    Message *m = s->first;
    head = (head + 1) % (MOST + 1);
    s->first = m->next;
    if (!s->first) s->last = &s->first;
    pthread_mutex_unlock(&lock);
    if (!s->gone) {
      lua_settop(s->l, 1);
      lua_pushvalue(s->l, 1);
      lua_pushinteger(s->l, m->from);
      lua_pushlstring(s->l, m->text, m->size);
      if (lua_pcall(s->l, 2, 0, 0) != LUA_OK)
        fprintf(stderr, "service %d: %s\n", number, lua_tostring(s->l, -1));
    }
    free(m);
    pthread_mutex_lock(&lock);
    s->queued = 0;
    enqueue(number);
  }
  pthread_mutex_unlock(&lock);
  return NULL;
}

int main(int argc, char **argv) {
  pthread_t ids[64];
  if (argc != 4) {
    fprintf(stderr, "usage: services SCRIPT THREADS STATES\n");
    return 2;
  }
  script = argv[1];
  int threads = atoi(argv[2]), states = atoi(argv[3]);
  for (int i = 0; i < states; i++) start();
  pthread_mutex_lock(&lock);
  services[1].first = calloc(1, sizeof(Message));
  if (!services[1].first) abort();
  services[1].last = &services[1].first->next;
  enqueue(1);
  pthread_mutex_unlock(&lock);
  for (int i = 0; i < threads && i < 64; i++)
    if (pthread_create(&ids[i], NULL, work, NULL) != 0) abort();
  for (int i = 0; i < threads && i < 64; i++) pthread_join(ids[i], NULL);
  for (int i = 1; i <= count; i++) lua_close(services[i].l);
  return status;
}
