/* chat.h - conversations as the text a chat model was trained on, from templates that are data.
 *
 * A template is a small config (conf/chat/NAME.cfg, see mete.cfg(5)): what stands before and after
 * a message of each role, what begins the text, the system message put first where there is none,
 * and what asks the model to answer. Shipped, exact for text messages of the published templates:
 *   qwen2     Qwen2-Instruct's, which is ChatML with a default system message
 *   qwen2_5   Qwen2.5-Instruct's: another default; answers of tools joined in a user's turn
 *   llama3    Meta-Llama-3-Instruct's
 * GPT-2 has none.
 *
 * What a user wrote cannot become a special token: a rendered text is pieces, and only what the
 * template itself says is a token is one. Encode it with mete_pieces_encode, not as one text.
 */
#ifndef METE_CHAT_H
#define METE_CHAT_H

#include "tokeniser.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mete_chat mete_chat;

/* One message; borrowed. Frozen layout. */
typedef struct mete_chat_message {
    mete_text role; /* "system", "user", "assistant", "tool", or what the template names */
    mete_text content;
} mete_chat_message;

/* Bytes [start, end) of a rendered text: a special token, or plain text up to the next one. */
typedef struct mete_piece {
    size_t start, end;
    int special;
} mete_piece;

/* A rendered text; zero it first, keep it for the next call, free it with mete_pieces_free. Two
 * plain pieces never follow each other. */
typedef struct mete_pieces {
    mete_buffer text;
    mete_piece *piece; /* [count] */
    size_t count, room;
} mete_pieces;

/* A shipped template by name, or a file by its path (with a '/' or ending in ".cfg"). NULL with a
 * sentence in `err`: METE_EIO, or METE_EINVAL with the line. */
METE_API mete_chat *mete_chat_open(const char *name, mete_error *err);
/* The template in a text; `name` stands for the file in messages. */
METE_API mete_chat *mete_chat_read(const char *name, mete_text config, mete_error *err);
METE_API void mete_chat_free(mete_chat *chat);

enum {
    METE_CHAT_ANSWER = 1 /* end with what asks the assistant to answer */
};

/* Renders the messages into `out`, whose earlier content is forgotten. METE_EINVAL: a role the
 * template does not have, named with those it has. Any thread. */
METE_API int mete_chat_render(const mete_chat *chat, const mete_chat_message *message,
                              size_t messages, unsigned flags, mete_pieces *out, mete_error *err);
METE_API void mete_pieces_free(mete_pieces *pieces);

/* Appends the tokens of the pieces: one for each special, and plain text with its special tokens
 * off. Spans are bytes of pieces->text. METE_EINVAL: the tokeniser lacks a special token. */
METE_API int mete_pieces_encode(const mete_tokeniser *tokeniser, const mete_pieces *pieces,
                                mete_tokens *out, mete_error *err);

#ifdef __cplusplus
}
#endif
#endif
