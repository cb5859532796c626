# Where this package was installed: LEASH_PREFIX, with the header, and LEASH_LIBDIR, with
# the libraries. Nothing was written down at installation: the whole may be moved.

set(LEASH_PREFIX "${CMAKE_CURRENT_LIST_DIR}")
while(NOT EXISTS "${LEASH_PREFIX}/include/leash.h" AND NOT LEASH_PREFIX STREQUAL "/")
  get_filename_component(LEASH_PREFIX "${LEASH_PREFIX}" DIRECTORY)
endwhile()

# This file is in LIBDIR/cmake/leash, or, from cargo-c, in share/cmake/leash.
foreach(folder "${CMAKE_CURRENT_LIST_DIR}/../.." "${LEASH_PREFIX}/lib64" "${LEASH_PREFIX}/lib"
    "${LEASH_PREFIX}/lib/${CMAKE_LIBRARY_ARCHITECTURE}")
  if(EXISTS "${folder}/pkgconfig/leash.pc")
    get_filename_component(LEASH_LIBDIR "${folder}" ABSOLUTE)
  endif()
endforeach()

# leash_says(KEY variable): a line of leash.pc.
function(leash_says key variable)
  file(STRINGS "${LEASH_LIBDIR}/pkgconfig/leash.pc" line REGEX "^${key}:")
  string(REGEX REPLACE "^${key}: *" "" line "${line}")
  set(${variable} "${line}" PARENT_SCOPE)
endfunction()
