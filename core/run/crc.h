/* crc.h - CRC-32C (Castagnoli, polynomial 0x1EDC6F41, as in iSCSI, RFC 3720): finds every single
 * damaged byte and every burst of up to 32 bits. */
#ifndef METE_RUN_CRC_H
#define METE_RUN_CRC_H

#include <stddef.h>
#include <stdint.h>

/* The checksum of what came before (0 at first) and `length` more bytes. */
uint32_t mete__crc32c(uint32_t crc, const void *data, size_t length);

#endif
