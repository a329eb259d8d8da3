/**
 * Error numbers of Linux that a raw socket's send returns.
 */
export const EPERM = 1;
export const EACCES = 13;
export const EINVAL = 22;
export const EMSGSIZE = 90;
export const ENETUNREACH = 101;
export const EHOSTUNREACH = 113;
