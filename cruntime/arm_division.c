/* Division on 32-bit ARM without an instruction for it: LLVM's code of a kernel calls the functions by
 * GCC's names, and some compilers' own libraries have only those of the ARM ABI. Weak, as others have
 * both. */
typedef int tvmcomp_arm_division; /* C wants a declaration in every file */

#if defined(__arm__)
__attribute__((weak, visibility("hidden"))) int __divsi3(int a, int b);
__attribute__((weak, visibility("hidden"))) int __modsi3(int a, int b);
__attribute__((weak, visibility("hidden"))) unsigned __udivsi3(unsigned a, unsigned b);
__attribute__((weak, visibility("hidden"))) unsigned __umodsi3(unsigned a, unsigned b);

int __divsi3(int a, int b) { return a / b; }
int __modsi3(int a, int b) { return a % b; }
unsigned __udivsi3(unsigned a, unsigned b) { return a / b; }
unsigned __umodsi3(unsigned a, unsigned b) { return a % b; }
#endif
