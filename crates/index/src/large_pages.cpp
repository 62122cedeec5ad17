// Large arrays, of which a search reads a little here and there, in pages of 2 MB where Linux gives them to programs that ask: with those of 4 KB most of
// what is read has its page looked up in memory first.
//
// FAISS's vectors get their memory through C++'s own `operator new` and `operator delete`, which are replaced here, as the standard provides for. Other
// forms of them lead to these.
#include <sys/mman.h>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace {
constexpr std::size_t PAGE = std::size_t(2) << 20;
// What is smaller would be rounded up by too much.
constexpr std::size_t LARGE = 4 * PAGE;
} // namespace

// Wishes for large pages where memory that was not written to yet holds whole ones. Without them all goes on as before.
extern "C" void membox_wish_for_large_pages(void* room, std::size_t bytes) noexcept {
#ifdef MADV_HUGEPAGE
    const auto begin = (reinterpret_cast<std::uintptr_t>(room) + PAGE - 1) / PAGE * PAGE;
    const auto end = (reinterpret_cast<std::uintptr_t>(room) + bytes) / PAGE * PAGE;
    if (begin < end) {
        madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
    }
#endif
}

void* operator new(std::size_t size) {
    for (;;) {
        if (size < LARGE) {
            if (void* room = std::malloc(size ? size : 1)) {
                return room;
            }
        } else {
            const std::size_t whole = (size + PAGE - 1) / PAGE * PAGE;
            if (void* room = std::aligned_alloc(PAGE, whole)) {
                membox_wish_for_large_pages(room, whole);
                return room;
            }
        }
        std::new_handler handler = std::get_new_handler();
        if (!handler) {
            throw std::bad_alloc();
        }
        handler();
    }
}

void operator delete(void* room) noexcept {
    std::free(room);
}

void operator delete(void* room, std::size_t) noexcept {
    std::free(room);
}
