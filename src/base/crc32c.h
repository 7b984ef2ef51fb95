/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * CRC-32C (Castagnoli): reflected, initial value and final XOR all ones. Of "123456789" it is
 * 0xe3069283.
 */
#ifndef BASE_CRC32C_H
#define BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

uint32_t crc32c(const void *data, size_t length);

#endif
