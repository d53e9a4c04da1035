! Stand-in of the physics buffer: real fields of rank 1 and 2, restart of those with global
! persistence.
module physics_buffer
  use, intrinsic :: ieee_arithmetic, only: ieee_quiet_nan, ieee_value
  use cam_abortutils, only: endrun
  use shr_kind_mod, only: r8 => shr_kind_r8
  implicit none
  private
  public :: physics_buffer_desc, dtype_r8, pbuf_add_field, pbuf_get_index, pbuf_get_field, &
            pbuf_get_chunk
  public :: pbuf_initialize, pbuf_write_restart, pbuf_read_restart

  real(r8), parameter :: dtype_r8 = 0.0_r8
  integer, parameter :: most_fields = 32

  type physics_buffer_desc
    private
    real(r8), pointer :: field(:, :) => null()
  end type physics_buffer_desc

  type header
    character(len=16) :: name = ' '
    character(len=16) :: persistence = ' '
    integer :: width = 0
  end type header

  type(header) :: headers(most_fields)
  integer :: n_field = 0

  interface pbuf_get_field
    module procedure get_pbuf1d_field_by_index_1d, get_pbuf1d_field_by_index_2d
  end interface pbuf_get_field

contains

  subroutine pbuf_add_field(name, persistence, dtype, dimsizes, index)
    use ppgrid, only: pcols
    character(len=*), intent(in) :: name
    character(len=*), intent(in) :: persistence
    real(r8), intent(in) :: dtype
    integer, intent(in) :: dimsizes(:)
    integer, intent(out) :: index

    if (abs(dtype) > 0.0_r8 .or. dimsizes(1) /= pcols &
        .or. len(name) > 16) call endrun('pbuf_add_field: ' // name)
    n_field = n_field + 1
    headers(n_field) = header(name, persistence, product(dimsizes(2:)))
    index = n_field
  end subroutine pbuf_add_field

  integer function pbuf_get_index(name, errcode) result(index)
    character(len=*), intent(in) :: name
    integer, intent(inout), optional :: errcode

    index = findloc(headers(:n_field)%name, name, dim=1)
    if (index == 0) index = -1
    if (present(errcode)) then
      errcode = index
    else if (index < 0) then
      call endrun('pbuf_get_index: field not found: ' // name)
    end if
  end function pbuf_get_index

  subroutine pbuf_initialize(pbuf2d)
    use ppgrid, only: begchunk, endchunk, pcols
    type(physics_buffer_desc), pointer :: pbuf2d(:, :)
    integer :: i, c
    real(r8) :: nan

    nan = ieee_value(nan, ieee_quiet_nan)
    allocate (pbuf2d(max(1, n_field), begchunk:endchunk))
    do c = begchunk, endchunk
      do i = 1, n_field
        allocate (pbuf2d(i, c)%field(pcols, headers(i)%width), source=nan)
      end do
    end do
  end subroutine pbuf_initialize

  function pbuf_get_chunk(pbuf2d, lchnk)
    type(physics_buffer_desc), pointer :: pbuf2d(:, :)
    integer, intent(in) :: lchnk
    type(physics_buffer_desc), pointer :: pbuf_get_chunk(:)

    pbuf_get_chunk => pbuf2d(:, lchnk)
  end function pbuf_get_chunk

  subroutine get_pbuf1d_field_by_index_1d(pbuf, index, field, start, kount, col_type, &
                                          copy_if_needed, errcode)
    type(physics_buffer_desc), pointer :: pbuf(:)
    integer, intent(in) :: index
    real(r8), pointer :: field(:)
    integer, intent(in), optional :: start(:), kount(:), col_type
    logical, intent(in), optional :: copy_if_needed
    integer, intent(out), optional :: errcode

    call refuse(present(start) .or. present(kount) .or. present(col_type) &
                .or. present(copy_if_needed) .or. present(errcode))
    field => pbuf(index)%field(:, 1)
  end subroutine get_pbuf1d_field_by_index_1d

  subroutine get_pbuf1d_field_by_index_2d(pbuf, index, field, start, kount, col_type, &
                                          copy_if_needed, errcode)
    type(physics_buffer_desc), pointer :: pbuf(:)
    integer, intent(in) :: index
    real(r8), pointer :: field(:, :)
    integer, intent(in), optional :: start(:), kount(:), col_type
    logical, intent(in), optional :: copy_if_needed
    integer, intent(out), optional :: errcode

    call refuse(present(start) .or. present(kount) .or. present(col_type) &
                .or. present(copy_if_needed) .or. present(errcode))
    field => pbuf(index)%field
  end subroutine get_pbuf1d_field_by_index_2d

  subroutine refuse(given)
    logical, intent(in) :: given

    if (given) call endrun('pbuf_get_field: the stand-in takes no sections')
  end subroutine refuse

  ! One file per column and field, so that any number of ranks can read what any other number wrote.
  function file_of(folder, name, lchnk, column) result(path)
    use phys_grid, only: get_gcol_p
    character(len=*), intent(in) :: folder, name
    integer, intent(in) :: lchnk, column
    character(len=512) :: path

    write (path, '(4a,i0)') trim(folder), '/', trim(name), '.', get_gcol_p(lchnk, column)
  end function file_of

  subroutine pbuf_write_restart(folder, pbuf2d)
    use phys_grid, only: get_ncols_p
    use ppgrid, only: begchunk, endchunk
    character(len=*), intent(in) :: folder
    type(physics_buffer_desc), pointer :: pbuf2d(:, :)
    integer :: c, i, k, unit

    do i = 1, n_field
      if (headers(i)%persistence /= 'global') cycle
      do c = begchunk, endchunk
        do k = 1, get_ncols_p(c)
          open (newunit=unit, file=file_of(folder, headers(i)%name, c, k), access='stream', &
                status='replace')
          write (unit) pbuf2d(i, c)%field(k, :)
          close (unit)
        end do
      end do
    end do
  end subroutine pbuf_write_restart

  ! The model stops here where a field is not in the file.
  subroutine pbuf_read_restart(folder, pbuf2d)
    use phys_grid, only: get_ncols_p
    use ppgrid, only: begchunk, endchunk
    character(len=*), intent(in) :: folder
    type(physics_buffer_desc), pointer :: pbuf2d(:, :)
    integer :: c, i, k, unit, outcome

    do i = 1, n_field
      if (headers(i)%persistence /= 'global') cycle
      do c = begchunk, endchunk
        do k = 1, get_ncols_p(c)
          open (newunit=unit, file=file_of(folder, headers(i)%name, c, k), access='stream', &
                status='old', iostat=outcome)
          if (outcome /= 0) call endrun('read_restart_field: ' // trim(headers(i)%name) &
                                        // ' not found')
          read (unit) pbuf2d(i, c)%field(k, :)
          close (unit)
        end do
      end do
    end do
  end subroutine pbuf_read_restart

end module physics_buffer
