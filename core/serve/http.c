/* http.c - requests and answers over libmicrohttpd.
 *
 * What a client sends is untrusted: headers, body, time and memory are bounded, and each refusal is
 * a status with one sentence. The token is compared, never written.
 */
#include "serve/serve.h"

#include <errno.h>
#include <linux/filter.h>
#include <netdb.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>

#define HEADER_BYTES ((size_t)16 << 10)
#define CONNECTION_MEMORY ((size_t)24 << 10) /* zeroed after each request */
#define GZIP_FROM ((size_t)16 << 10)         /* smaller answers are not worth the time */
#define HANDSHAKE_MS 5                       /* in which a connection half made is whole */

/* ---- answers --------------------------------------------------------------------------------- */

static bool
gzip_text(const mete_buffer *in, mete_buffer *out)
{
    z_stream z = {0};
    if (deflateInit2(&z, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return false;
    size_t most = deflateBound(&z, in->length);
    bool good = !mete_buffer_reserve(out, most);
    if (good) {
        z.next_in = (Bytef *)in->data;
        z.avail_in = (uInt)in->length;
        z.next_out = (Bytef *)out->data;
        z.avail_out = (uInt)most;
        good = deflate(&z, Z_FINISH) == Z_STREAM_END;
        out->length = good ? z.total_out : 0;
    }
    deflateEnd(&z);
    return good;
}

static bool
accepts_gzip(struct MHD_Connection *connection)
{
    const char *accept =
        MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Accept-Encoding");
    return accept && strstr(accept, "gzip");
}

static enum MHD_Result
send_answer(mete__exchange *x, const char *type)
{
    mete__server *server = x->server;
    mete_buffer zipped = {0};
    bool gzip = x->answer.length >= GZIP_FROM && accepts_gzip(x->connection) &&
                gzip_text(&x->answer, &zipped);
    struct MHD_Response *response =
        gzip ? MHD_create_response_from_buffer(zipped.length, zipped.data, MHD_RESPMEM_MUST_FREE)
             : MHD_create_response_from_buffer(x->answer.length, x->answer.data,
                                               MHD_RESPMEM_PERSISTENT);
    if (!response) {
        if (gzip)
            mete_buffer_free(&zipped);
        return MHD_NO;
    }
    MHD_add_response_header(response, "Content-Type", type);
    if (gzip)
        MHD_add_response_header(response, "Content-Encoding", "gzip");
    MHD_add_response_header(response, "X-Mete-Version", x->tree->version);
    if (x->code == 503)
        MHD_add_response_header(response, "Retry-After", "1");
    if (x->code == 401)
        MHD_add_response_header(response, "WWW-Authenticate", "Bearer");
    if (x->code == 405)
        MHD_add_response_header(response, "Allow", x->protocol ? "POST" : "GET, HEAD");
    if (atomic_load_explicit(&server->draining, memory_order_relaxed))
        MHD_add_response_header(response, "Connection", "close");
    mete__meter_answer(server, x);
    enum MHD_Result queued = MHD_queue_response(x->connection, x->code, response);
    MHD_destroy_response(response);
    return queued;
}

/* The deadline passed. Who scores it may still write into the exchange's answer, so this one is
 * made apart. */
static enum MHD_Result
send_late(mete__exchange *x)
{
    static const char sentence[] = "{\"error\":\"the deadline passed before there was a score\"}";
    struct MHD_Response *response = MHD_create_response_from_buffer(
        sizeof sentence - 1, (void *)sentence, MHD_RESPMEM_PERSISTENT);
    if (!response)
        return MHD_NO;
    MHD_add_response_header(response, "Content-Type", "application/json");
    MHD_add_response_header(response, "X-Mete-Version", x->tree->version);
    mete__exchange late = {.protocol = x->protocol, .code = 504, .begun = x->begun};
    mete__meter_answer(x->server, &late);
    enum MHD_Result queued = MHD_queue_response(x->connection, 504, response);
    MHD_destroy_response(response);
    return queued;
}

/* ---- headers --------------------------------------------------------------------------------- */

struct headers {
    size_t bytes, lengths, encodings, expects;
    const char *length, *content, *authorization, *key;
};

static enum MHD_Result
read_header(void *user, enum MHD_ValueKind kind, const char *name, const char *value)
{
    struct headers *h = user;
    (void)kind;
    value = value ? value : "";
    h->bytes += strlen(name) + strlen(value) + 4;
    switch (*name | 32) {
    case 'c':
        if (strcasecmp(name, "Content-Length") == 0) {
            h->length = value;
            h->lengths++;
        } else if (strcasecmp(name, "Content-Encoding") == 0) {
            h->content = value;
        }
        break;
    case 't':
        h->encodings += strcasecmp(name, "Transfer-Encoding") == 0;
        break;
    case 'e':
        h->expects += strcasecmp(name, "Expect") == 0;
        break;
    case 'a':
        if (strcasecmp(name, "Authorization") == 0)
            h->authorization = value;
        break;
    case 'x':
        if (strcasecmp(name, "X-Api-Key") == 0)
            h->key = value;
        break;
    default:
        break;
    }
    return MHD_YES;
}

static unsigned long long
stated_length(const struct headers *h)
{
    return h->length ? strtoull(h->length, NULL, 10) : 0;
}

/* In time that does not tell how much of it was right. */
static bool
same_secret(const char *given, const char *token)
{
    size_t length = strlen(token), other = strlen(given);
    unsigned char differ = length != other;
    for (size_t i = 0; i < length; i++)
        differ |= (unsigned char)(token[i] ^ given[other ? i % other : 0]);
    return !differ;
}

static bool
allowed(const mete__server *server, const struct headers *h)
{
    const char *token = server->options.token;
    if (!token)
        return true;
    if (h->authorization && strncasecmp(h->authorization, "Bearer ", 7) == 0 &&
        same_secret(h->authorization + 7, token))
        return true;
    return h->key && same_secret(h->key, token);
}

/* Finds what the path names. */
static bool
route(mete__exchange *x, const char *url, const char *method)
{
    size_t length = strlen(url);
    while (length > 1 && url[length - 1] == '/')
        length--;
    x->protocol = mete__protocol_find((mete_text){url, length});
    x->page = x->protocol ? METE__PAGE_NONE : mete__page_find(length > 1 ? url : "/");
    if (!x->protocol && !x->page) {
        mete__exchange_fail(x, 404,
                            "there is nothing at this path; GET /openapi.json says what is");
        return false;
    }
    bool get = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
    if (x->protocol ? strcmp(method, "POST") != 0 : !get) {
        mete__exchange_fail(x, 405, "%s wants %s", x->protocol ? x->protocol->path : "this page",
                            x->protocol ? "POST" : "GET");
        return false;
    }
    return true;
}

/* May the body come? */
static bool
admit(mete__exchange *x, const struct headers *h)
{
    mete__server *server = x->server;
    if (h->lengths + h->encodings > 1) {
        mete__exchange_fail(x, 400, "the request states its length more than once");
        return false;
    }
    if (h->content && strcasecmp(h->content, "gzip") != 0 &&
        strcasecmp(h->content, "identity") != 0) {
        mete__exchange_fail(x, 415, "the body's encoding must be gzip or identity");
        return false;
    }
    x->gzip = h->content && strcasecmp(h->content, "gzip") == 0;
    unsigned long long length = stated_length(h);
    if (length > server->options.body) {
        mete__exchange_fail(x, 413, "the body has more than %zu bytes", server->options.body);
        return false;
    }
    if (length && mete_buffer_reserve(&x->body, (size_t)length)) {
        mete__exchange_fail(x, 503, "out of memory for the body");
        return false;
    }
    return true;
}

static enum MHD_Result
begin(mete__server *server, struct MHD_Connection *connection, const char *url, const char *method,
      void **context)
{
    struct headers h = {0};
    mete__exchange *x = mete__exchange_new(server);
    if (!x)
        return MHD_NO;
    *context = x;
    x->connection = connection;
    MHD_get_connection_values(connection, MHD_HEADER_KIND, read_header, &h);
    if (h.bytes > HEADER_BYTES)
        mete__exchange_fail(x, 431, "the headers have more than %zu bytes", HEADER_BYTES);
    else if (route(x, url, method)) {
        bool open = x->page == METE__PAGE_HEALTH || x->page == METE__PAGE_HOME;
        if (!open && !allowed(server, &h))
            mete__exchange_fail(x, 401, "the bearer token is missing or wrong");
        else if (!x->protocol || admit(x, &h))
            x->code = 0;
    }
    /* A refused body of bearable size is read and dropped: a client that is still sending would
     * not see the answer. */
    x->over = x->code != 0;
    if (x->over && (h.expects || h.lengths + h.encodings > 1 ||
                    stated_length(&h) > 2 * (unsigned long long)server->options.body)) {
        mete__guest_hurry(connection, 0);
        return send_answer(x, "application/json");
    }
    mete__guest_hurry(connection, server->options.upload);
    return MHD_YES;
}

/* ---- bodies ---------------------------------------------------------------------------------- */

static enum MHD_Result
receive(mete__exchange *x, const char *data, size_t size)
{
    mete__server *server = x->server;
    x->counted += size;
    size_t all = atomic_fetch_add(&server->bytes, size) + size;
    if (x->over)
        return x->counted < 2 * server->options.body ? MHD_YES : MHD_NO;
    if (x->body.length + size > server->options.body)
        mete__exchange_fail(x, 413, "the body has more than %zu bytes", server->options.body);
    else if (all > server->options.memory)
        mete__exchange_fail(x, 503, "too many bytes of requests are held; try again");
    else if (mete_buffer_append(&x->body, data, size))
        mete__exchange_fail(x, 503, "out of memory for the body");
    x->over = x->code != 0;
    return MHD_YES;
}

/* Unzips the body in place, to no more than a plain one may have. */
static bool
gunzip(mete__exchange *x)
{
    size_t most = x->server->options.body;
    mete_buffer plain = mete_buffer_make(0);
    z_stream z = {.next_in = (Bytef *)x->body.data, .avail_in = (uInt)x->body.length};
    int status = inflateInit2(&z, 15 + 16) == Z_OK ? Z_OK : Z_MEM_ERROR;
    bool large = false;
    while (status == Z_OK && !large) {
        if (mete_buffer_reserve(&plain, 32768)) {
            status = Z_MEM_ERROR;
            break;
        }
        z.next_out = (Bytef *)plain.data + plain.length;
        z.avail_out = 32768;
        status = inflate(&z, Z_NO_FLUSH);
        plain.length += 32768 - z.avail_out;
        large = plain.length > most;
    }
    inflateEnd(&z);
    if (status == Z_STREAM_END && !large && !z.avail_in) {
        mete_buffer_free(&x->body);
        x->body = plain;
        return true;
    }
    mete_buffer_free(&plain);
    if (large)
        mete__exchange_fail(x, 413, "the body unzips to more than %zu bytes", most);
    else
        mete__exchange_fail(x, 400, "the body is no whole gzip stream");
    return false;
}

/* The whole request is there. */
static enum MHD_Result
complete(mete__exchange *x)
{
    mete__server *server = x->server;
    mete__guest_hurry(x->connection, 0);
    if (x->page && !x->over) {
        x->code = 200;
        const char *type = mete__page_write(server, x->page, &x->answer);
        return send_answer(x, type);
    }
    if (x->over || (x->gzip && !gunzip(x)))
        return send_answer(x, "application/json");
    mete_error err = {0};
    int status =
        mete__call_read(&x->call, x->protocol, &x->tree->setting, mete_buffer_view(&x->body), &err);
    if (status)
        mete__exchange_fail(x, status == METE_EDATA ? 400 : 500, "%s", err.message);
    else if (!mete__exchange_score(x))
        return MHD_YES; /* suspended */
    return send_answer(x, "application/json");
}

static enum MHD_Result
handle(void *user, struct MHD_Connection *connection, const char *url, const char *method,
       const char *version, const char *data, size_t *size, void **context)
{
    mete__exchange *x = *context;
    (void)version;
    if (!x)
        return begin(user, connection, url, method, context);
    if (*size) {
        enum MHD_Result more = receive(x, data, *size);
        *size = 0;
        return more;
    }
    /* whoever changed it did so before the connection was resumed, or this thread did */
    switch (x->stage) {
    case METE__READING:
        return complete(x);
    case METE__ANSWERED:
        return send_answer(x, "application/json");
    case METE__EXPIRED:
        return send_late(x);
    default:
        return MHD_YES;
    }
}

static void
completed(void *user, struct MHD_Connection *connection, void **context,
          enum MHD_RequestTerminationCode code)
{
    mete__server *server = user;
    (void)code;
    if (*context)
        mete__exchange_leave(*context);
    *context = NULL;
    mete__guest_hurry(connection, server->options.idle);
}

/* ---- the daemon ------------------------------------------------------------------------------ */

static int
listen_at(mete__server *server, mete_error *err)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *found = NULL;
    const mete__serve_options *o = &server->options;
    int bad = getaddrinfo(*o->host ? o->host : NULL, o->port, &hints, &found), one = 1, s = -1;
    if (bad) {
        mete_error_set(err, METE_EINVAL, "serve.host: %s: %s", o->host, gai_strerror(bad));
        return -1;
    }
    for (struct addrinfo *a = found; a && s < 0; a = a->ai_next) {
        s = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (s < 0)
            continue;
        setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        if (bind(s, a->ai_addr, a->ai_addrlen) || listen(s, SOMAXCONN)) {
            mete_error_set(err, METE_EIO, "cannot listen at %s, port %s: %s", o->host, o->port,
                           strerror(errno));
            close(s);
            s = -1;
        }
    }
    freeaddrinfo(found);
    struct sockaddr_storage at;
    socklen_t length = sizeof at;
    char port[sizeof o->port];
    if (s >= 0 && !getsockname(s, (struct sockaddr *)&at, &length) &&
        !getnameinfo((struct sockaddr *)&at, length, NULL, 0, port, sizeof port, NI_NUMERICSERV))
        memcpy(server->options.port, port, sizeof port);
    return s;
}

static void
no_log(void *user, const char *format, va_list list)
{
    (void)user, (void)format, (void)list; /* what clients do wrong is theirs to know */
}

bool
mete__http_start(mete__server *server, mete_error *err)
{
    const mete__serve_options *o = &server->options;
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
    unsigned pool = server->tree->quick || o->threads < 2 ? o->threads : 2;
    if (o->certificate && MHD_is_feature_supported(MHD_FEATURE_TLS) != MHD_YES) {
        mete_error_set(err, METE_ENOTSUP, "this build of libmicrohttpd has no TLS");
        return false;
    }
    int s = listen_at(server, err);
    if (s < 0)
        return false;
    struct MHD_OptionItem more[4] = {{MHD_OPTION_END, 0, NULL}};
    size_t n = 0;
    if (pool > 1)
        more[n++] = (struct MHD_OptionItem){MHD_OPTION_THREAD_POOL_SIZE, (intptr_t)pool, NULL};
    if (o->certificate) {
        flags |= MHD_USE_TLS;
        more[n++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_CERT, 0, o->certificate};
        more[n++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_KEY, 0, o->key};
    }
    more[n] = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};
    server->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, handle, server, MHD_OPTION_EXTERNAL_LOGGER, no_log, NULL,
        MHD_OPTION_LISTEN_SOCKET, s, MHD_OPTION_CONNECTION_LIMIT, o->connections,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)o->idle, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        CONNECTION_MEMORY, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_NOTIFY_COMPLETED, completed,
        server, MHD_OPTION_NOTIFY_CONNECTION, mete__guest_notify, server, MHD_OPTION_ARRAY, more,
        MHD_OPTION_END);
    if (server->daemon)
        return true;
    close(s);
    mete_error_set(err, METE_EIO, "cannot start the HTTP server%s",
                   o->certificate ? "; are tls_certificate and tls_key PEM files?" : "");
    return false;
}

/* From now on the system answers nobody who wants to connect; who is half connected gets there. */
static void
refuse_new(int listener)
{
    struct sock_filter no_syn[] = {BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 13), /* the flags */
                                   BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 0x02, 0, 1),
                                   BPF_STMT(BPF_RET | BPF_K, 0), BPF_STMT(BPF_RET | BPF_K, ~0u)};
    struct sock_fprog program = {sizeof no_syn / sizeof *no_syn, no_syn};
    setsockopt(listener, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
}

/* Those who are connected already, as far as the system knows. */
static void
let_in(mete__server *server, int listener)
{
    struct sockaddr_storage from;
    socklen_t length = sizeof from;
    int guest;
    for (unsigned n = 0; n < server->options.connections; n++, length = sizeof from) {
        guest = accept4(listener, (struct sockaddr *)&from, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (guest < 0)
            return;
        MHD_add_connection(server->daemon, guest, (struct sockaddr *)&from, length);
    }
}

void
mete__http_drain(mete__server *server)
{
    atomic_store(&server->draining, true);
    int listener = MHD_quiesce_daemon(server->daemon);
    if (listener < 0)
        return;
    refuse_new(listener);
    let_in(server, listener);
    poll(NULL, 0, HANDSHAKE_MS);
    let_in(server, listener);
    close(listener);
}

void
mete__http_stop(mete__server *server)
{
    MHD_stop_daemon(server->daemon);
}
