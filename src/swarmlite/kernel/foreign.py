"""The few parts of ctypes that are used here, from the C module below it.

`ctypes` itself loads os, struct and types and tries out a hundred classes of its own: that takes
half as long as starting the interpreter, which swarmlite-runtime does twice a container. The names
and what they do are those of ctypes.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ctypes import (
        CDLL,
        PyDLL,
        Structure,
        addressof,
        byref,
        c_char_p,
        c_int,
        c_long,
        c_size_t,
        c_uint,
        c_ulong,
        c_ushort,
        c_void_p,
        create_string_buffer,
        get_errno,
    )
else:
    from _ctypes import (
        FUNCFLAG_CDECL,
        FUNCFLAG_PYTHONAPI,
        FUNCFLAG_USE_ERRNO,
        CFuncPtr,
        Structure,
        _SimpleCData,
        addressof,
        byref,
        dlopen,
        get_errno,
    )

    def _simple(code):
        return type(_SimpleCData)(f"c_{code}", (_SimpleCData,), {"_type_": code})

    c_char, c_char_p, c_void_p, c_ushort = (_simple(code) for code in "czPH")
    c_int, c_uint, c_long, c_ulong = (_simple(code) for code in "iIlL")
    c_size_t = c_ulong  # on every Linux

    class CDLL:
        """A library that is loaded; its functions release the interpreter's lock."""

        _lock_flags = 0

        def __init__(self, name, use_errno=False) -> None:
            self._handle = dlopen(name, 0)

            class Function(CFuncPtr):
                _flags_ = FUNCFLAG_CDECL | self._lock_flags | (FUNCFLAG_USE_ERRNO * use_errno)
                _restype_ = c_int

            self._function = Function

        def __getattr__(self, name):
            found = self._function((name, self))
            setattr(self, name, found)
            return found

    class PyDLL(CDLL):
        """Likewise, but its functions keep the lock."""

        _lock_flags = FUNCFLAG_PYTHONAPI

    def create_string_buffer(init, size=None):
        """An array of char that holds `init` and a NUL, or `size` bytes of it."""
        buffer = (c_char * (size or len(init) + 1))()
        buffer.value = init
        return buffer


__all__ = [
    "CDLL", "PyDLL", "Structure", "addressof", "byref", "c_char_p", "c_int", "c_long", "c_size_t",
    "c_uint", "c_ulong", "c_ushort", "c_void_p", "create_string_buffer", "get_errno",
]  # fmt: skip
