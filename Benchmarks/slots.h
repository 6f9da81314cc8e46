// Of the load generator (load.c): which node of a cluster a key belongs to.
#pragma once
#include <stdint.h>
#include <string.h>

enum { KEY_DIGITS = 12 };

// The node of a slot, where so many nodes share the slots evenly and in order.
static int node_of(int slot, int count) {
    int node = 0;
    while (node + 1 < count && slot >= 16384 * (node + 1) / count) node++;
    return node;
}

static uint16_t crc_table[256];

static void prepare_slots(void) {
    for (int byte = 0; byte < 256; byte++) {
        uint16_t crc = (uint16_t)(byte << 8);
        for (int bit = 0; bit < 8; bit++)
            crc = (uint16_t)(crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1);
        crc_table[byte] = crc;
    }
}

// The slot of the key with these digits: CRC16 of all of the key.
static int slot_of(const char *digits) {
    uint16_t crc = 0;
    for (const char *at = digits - strlen("key:"); at < digits + KEY_DIGITS; at++)
        crc = (uint16_t)(crc << 8 ^ crc_table[crc >> 8 ^ (unsigned char)*at]);
    return crc & 16383;
}
