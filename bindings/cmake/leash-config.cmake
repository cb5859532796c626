# find_package(leash) gives leash::leash, the shared library, and leash::static.

include("${CMAKE_CURRENT_LIST_DIR}/leash-places.cmake")

if(EXISTS "${LEASH_LIBDIR}/libleash.so" AND NOT TARGET leash::leash)
  add_library(leash::leash SHARED IMPORTED)
  set_target_properties(leash::leash PROPERTIES
    IMPORTED_LOCATION "${LEASH_LIBDIR}/libleash.so"
    INTERFACE_INCLUDE_DIRECTORIES "${LEASH_PREFIX}/include")
endif()

if(EXISTS "${LEASH_LIBDIR}/libleash.a" AND NOT TARGET leash::static)
  leash_says(Libs.private LEASH_NATIVE)
  separate_arguments(LEASH_NATIVE UNIX_COMMAND "${LEASH_NATIVE}")
  add_library(leash::static STATIC IMPORTED)
  set_target_properties(leash::static PROPERTIES
    IMPORTED_LOCATION "${LEASH_LIBDIR}/libleash.a"
    INTERFACE_INCLUDE_DIRECTORIES "${LEASH_PREFIX}/include"
    INTERFACE_LINK_LIBRARIES "${LEASH_NATIVE}")
endif()
