"""climlink: trained emulators of cloud and convection physics inside Fortran climate models."""
