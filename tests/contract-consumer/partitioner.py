"""The partition that Java clients choose for a key: murmur2, as in Kafka's `Utils.murmur2`.

Written apart from the producer under test and without its library, so that an agreement means something.
"""

_MASK = 0xFFFFFFFF


def murmur2(data: bytes) -> int:
    """The 32-bit hash, unsigned."""
    multiplier, shift, seed = 0x5BD1E995, 24, 0x9747B28C
    length = len(data)
    result = (seed ^ length) & _MASK
    whole = length - length % 4
    for at in range(0, whole, 4):
        word = int.from_bytes(data[at : at + 4], "little")
        word = word * multiplier & _MASK
        word ^= word >> shift
        word = word * multiplier & _MASK
        result = (result * multiplier & _MASK) ^ word
    rest = data[whole:]
    if rest:
        result ^= int.from_bytes(rest, "little")
        result = result * multiplier & _MASK
    result ^= result >> 13
    result = result * multiplier & _MASK
    result ^= result >> 15
    return result


def partition_for(key: bytes, partitions: int) -> int:
    """Java drops the sign bit before the remainder."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions
