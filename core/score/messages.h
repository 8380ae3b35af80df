/* messages.h - chat messages as the text that rewards read. */
#ifndef METE_SCORE_MESSAGES_H
#define METE_SCORE_MESSAGES_H

#include <mete/text.h>
#include <stdbool.h>

/* Both read a JSON array of {"role":..,"content":..}, where content is a text, null, or a list of
 * parts {"type":..,"text":..}, whose texts are joined. false: it is none, or memory ran out, and
 * nothing was appended. */

/* Appends the prompt that the first `most` messages are: the content of the only one, else
 * "role: content" of each, a blank line between. */
bool mete__messages_prompt(mete_text json, size_t most, mete_buffer *out);
/* Appends the content of the last message by the assistant (of the last, where no message says
 * whose it is). */
bool mete__messages_answer(mete_text json, mete_buffer *out);
/* How many messages stand before the last by the assistant: its prompt. */
size_t mete__messages_before(mete_text json);

#endif
