/* isolate_world.h - an environment in a process of its own (`isolate = "process"`). That process
 * keeps the lanes, so its loss is the run's: an error that says how it was lost, and a run that can
 * be resumed. Only the engine's own files include this. */
#ifndef METE_ENGINE_ISOLATE_WORLD_H
#define METE_ENGINE_ISOLATE_WORLD_H

#include "engine/isolate.h"

/* As the plugin's functions of these names. `spaces` starts the process and comes first; what lanes
 * show is afterwards as it is there, of all of them. */
int mete__apart_spaces(mete_ctx *cx, size_t lanes, mete_spaces *out);
int mete__apart_reset(mete_ctx *cx, const mete_reset *in, mete_observations *out);
int mete__apart_step(mete_ctx *cx, const mete_actions *in, mete_transitions *out);
int mete__apart_copy(mete_ctx *cx, size_t lane, void *bytes);
int mete__apart_restore(mete_ctx *cx, size_t lane, const void *bytes, mete_observations *out);
/* Of an environment that has lanes. */
int mete__apart_save(mete_ctx *cx);
int mete__apart_load(mete_ctx *cx, const void *bytes, size_t length);
/* Ends the process of an environment that has one. */
void mete__apart_free(mete_node *node);

#endif
